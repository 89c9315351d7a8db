import Gateway
import NIOCore
import OllamaAPI
import PoolCore

/// The models that are installed, as an instance listed them last. On the loop.
final class ModelList {
  private static let route = OwnRoute("GET", "/api/tags")

  /// nil before any instance has listed them.
  private(set) var last: [InstalledModel]?
  private var listedAt: Instant?
  private var waiting: [Int: (Result<[InstalledModel], ChatError>) -> Void] = [:]
  private var lastWait = 0
  private var isAsking = false

  /// The list, asked for anew where it is older than `age`. It may take as long as an instance takes to start.
  ///
  /// - Returns: what ``forget(_:)`` takes; nil where `done` was called already.
  @discardableResult
  func list(
    _ gateway: Gateway, at now: Instant, noOlderThan age: Duration,
    _ done: @escaping (Result<[InstalledModel], ChatError>) -> Void
  ) -> Int? {
    if let last, let listedAt, now - listedAt < age {
      done(.success(last))
      return nil
    }
    lastWait += 1
    let wait = lastWait
    waiting[wait] = done
    if !isAsking { ask(gateway, at: now) }
    return waiting[wait] == nil ? nil : wait
  }

  /// Whoever waits no longer is not told.
  func forget(_ wait: Int) { waiting[wait] = nil }

  private func ask(_ gateway: Gateway, at now: Instant) {
    isAsking = true
    let reader = ListReader { [self] listed in
      isAsking = false
      if case .success(let models) = listed { (last, listedAt) = (models, now) }
      let waiting = waiting.sorted { $0.key < $1.key }
      self.waiting = [:]
      for (_, done) in waiting { done(listed) }
    }
    gateway.request(OwnRequest(route: Self.route, model: nil, streams: false), reader: reader).arrive()
  }
}

/// Takes the answer of `/api/tags`.
private final class ListReader: AnswerReader {
  /// A longer list is none, in bytes.
  private static let limit = 16 << 20

  private let done: (Result<[InstalledModel], ChatError>) -> Void
  private var status = 0
  private var content = ByteBuffer()

  init(_ done: @escaping (Result<[InstalledModel], ChatError>) -> Void) { self.done = done }

  func requestBody(at address: SocketAddress, _ done: @escaping (Result<ByteBuffer, PoolError>) -> Void) {
    done(.success(ByteBuffer()))
  }
  func answerBegan(status: Int) { self.status = status }
  func answerContinued(_ content: ByteBuffer) {
    if self.content.readableBytes < Self.limit { self.content.writeImmutableBuffer(content) }
  }
  func answerVoided() { content.clear() }

  func answerEnded(_ outcome: ExchangeOutcome, _ error: PoolError?) {
    if let error { return done(.failure(ChatError(error))) }
    guard outcome == .served, status == 200, let models = InstalledModel.all(in: content) else {
      return done(.failure(.noModelList))
    }
    done(.success(models))
  }
}
