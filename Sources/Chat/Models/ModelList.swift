import Gateway
import NIOCore
import OllamaAPI
import PoolCore

/// The models that are installed, as an instance listed them last. On the loop.
final class ModelList {
  /// nil before any instance has listed them.
  private(set) var last: [InstalledModel]?
  private var listedAt: Instant?
  private var waiting: [(Result<[InstalledModel], ChatError>) -> Void] = []

  /// The list, asked for anew where it is older than `age`. It may take as long as an instance takes to start.
  func list(
    _ gateway: Gateway, at now: Instant, noOlderThan age: Duration,
    _ done: @escaping (Result<[InstalledModel], ChatError>) -> Void
  ) {
    if let last, let listedAt, now - listedAt < age { return done(.success(last)) }
    waiting.append(done)
    guard waiting.count == 1, case .route(let route) = RouteTable.ollama.resolve(method: "GET", path: "/api/tags")
    else { return }
    let reader = ListReader { [self] listed in
      if case .success(let models) = listed { (last, listedAt) = (models, now) }
      let waiting = waiting
      self.waiting = []
      for done in waiting { done(listed) }
    }
    gateway.request(OwnRequest(route: route, model: nil, streams: false, caller: nil, peer: nil), reader: reader)
      .arrive()
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
