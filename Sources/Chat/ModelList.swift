import FoundationEssentials
import Gateway
import NIOCore
import OllamaAPI
import PoolCore

/// The models that are installed, as an instance listed them lately.
struct ModelList {
  /// How old a list may be that is shown.
  private static let lifetime = Duration.seconds(10)
  /// Models that an error names.
  private static let mostNamed = 20

  private final class State {
    var names: [String] = []
    var listedAt: Instant?
    var waiting: [(Result<[String], PoolError>) -> Void] = []
  }

  private let state = State()

  /// Whether a model of this name was listed, however long ago.
  func knows(_ name: String) -> Bool { Self.contains(state.names, name) }

  private static func contains(_ names: [String], _ name: String) -> Bool {
    let key = ModelName.key(of: name)
    return names.contains { ModelName.key(of: $0) == key }
  }

  /// The list, asked for anew where it is old. It may take as long as an instance takes to start.
  func list(at now: Instant, _ gateway: Gateway, _ done: @escaping (Result<[String], PoolError>) -> Void) {
    if let listedAt = state.listedAt, now - listedAt < Self.lifetime { return done(.success(state.names)) }
    state.waiting.append(done)
    guard state.waiting.count == 1, case .route(let route) = RouteTable.ollama.resolve(method: "GET", path: "/api/tags")
    else { return }
    let reader = ListReader { [state] names in
      if case .success(let names) = names {
        state.names = names
        state.listedAt = now
      }
      let waiting = state.waiting
      state.waiting = []
      for done in waiting { done(names) }
    }
    gateway.request(OwnRequest(route: route, model: nil, streams: false, caller: nil, peer: nil), reader: reader)
      .arrive()
  }

  /// The model of a question; where it names none, the only one that there is.
  static func choose(_ wanted: String?, of names: [String]) -> Result<String, PoolError> {
    let named = names.prefix(mostNamed).joined(separator: ", ")
    let others = names.count > mostNamed ? " and \(names.count - mostNamed) more" : ""
    let list = names.isEmpty ? "None is installed." : "There are: \(named)\(others)."
    if let wanted {
      guard contains(names, wanted) else {
        return .failure(
          PoolError(status: 404, code: "model_not_found", message: "There is no model '\(wanted)'. \(list)"))
      }
      return .success(wanted)
    }
    guard names.count == 1, let only = names.first else {
      return .failure(
        PoolError(status: 400, code: "model_needed", message: "The question has to name its 'model'. \(list)"))
    }
    return .success(only)
  }
}

/// Takes the answer of `/api/tags`.
private final class ListReader: AnswerReader {
  private struct Tags: Decodable {
    struct Model: Decodable { var name: String }
    var models: [Model]
  }

  /// A longer list is none, in bytes.
  private static let limit = 16 << 20

  private let done: (Result<[String], PoolError>) -> Void
  private var status = 0
  private var content = ByteBuffer()

  init(_ done: @escaping (Result<[String], PoolError>) -> Void) { self.done = done }

  func requestBody(_ done: @escaping (Result<ByteBuffer, PoolError>) -> Void) { done(.success(ByteBuffer())) }
  func answerBegan(status: Int) { self.status = status }
  func answerContinued(_ content: ByteBuffer) {
    if self.content.readableBytes < Self.limit { self.content.writeImmutableBuffer(content) }
  }
  func answerVoided() { content.clear() }

  func answerEnded(_ outcome: ExchangeOutcome, _ error: PoolError?) {
    if let error { return done(.failure(error)) }
    guard outcome == .served, status == 200,
      let tags = try? JSONDecoder().decode(Tags.self, from: Data(content.readableBytesView))
    else {
      return done(
        .failure(
          PoolError(status: 502, code: "no_model_list", message: "No instance told which models there are. Try again."))
      )
    }
    done(.success(tags.models.map(\.name)))
  }
}
