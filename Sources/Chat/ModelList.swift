import FoundationEssentials
import Gateway
import NIOCore
import OllamaAPI
import PoolCore

/// Names of models that are installed.
struct InstalledModels: Equatable {
  var all: [String] = []
  /// Those that answer questions.
  var ofChat: [String] = []
}

/// The models that are installed, as an instance listed them lately.
struct ModelList {
  /// How old a list may be that is shown.
  private static let lifetime = Duration.seconds(10)

  private final class State {
    var models = InstalledModels()
    var listedAt: Instant?
    var waiting: [(Result<InstalledModels, ChatError>) -> Void] = []
  }

  private let state = State()

  /// Whether a model of this name was listed, however long ago.
  func knows(_ name: String) -> Bool { Self.contains(state.models.all, name) }

  private static func contains(_ names: [String], _ name: String) -> Bool {
    let key = ModelName.key(of: name)
    return names.contains { ModelName.key(of: $0) == key }
  }

  /// The list, asked for anew where it is old. It may take as long as an instance takes to start.
  func list(at now: Instant, _ gateway: Gateway, _ done: @escaping (Result<InstalledModels, ChatError>) -> Void) {
    if let listedAt = state.listedAt, now - listedAt < Self.lifetime { return done(.success(state.models)) }
    state.waiting.append(done)
    guard state.waiting.count == 1, case .route(let route) = RouteTable.ollama.resolve(method: "GET", path: "/api/tags")
    else { return }
    let reader = ListReader { [state] listed in
      if case .success(let models) = listed {
        state.models = models
        state.listedAt = now
      }
      let waiting = state.waiting
      state.waiting = []
      for done in waiting { done(listed) }
    }
    gateway.request(OwnRequest(route: route, model: nil, streams: false, caller: nil, peer: nil), reader: reader)
      .arrive()
  }

  /// The model of a question; where it names none, the only one that there is.
  static func choose(_ wanted: String?, of models: InstalledModels) -> Result<String, ChatError> {
    if let wanted {
      return contains(models.all, wanted) ? .success(wanted) : .failure(.modelNotFound(wanted, instead: models.ofChat))
    }
    guard models.ofChat.count == 1, let only = models.ofChat.first else { return .failure(.modelNeeded(models.ofChat)) }
    return .success(only)
  }
}

/// Takes the answer of `/api/tags`.
private final class ListReader: AnswerReader {
  private struct Tags: Decodable {
    struct Model: Decodable {
      struct Details: Decodable {
        var family: String?
        var families: [String]?
      }

      var name: String
      var details: Details?

      /// Ollama's list says it by the family alone, and of some that share theirs with models that chat, by nothing
      /// but the name.
      var embeds: Bool {
        let families = (details?.families ?? []) + [details?.family].compactMap(\.self)
        return families.contains { $0.lowercased().contains("bert") } || name.lowercased().contains("embed")
      }
    }

    var models: [Model]
  }

  /// A longer list is none, in bytes.
  private static let limit = 16 << 20

  private let done: (Result<InstalledModels, ChatError>) -> Void
  private var status = 0
  private var content = ByteBuffer()

  init(_ done: @escaping (Result<InstalledModels, ChatError>) -> Void) { self.done = done }

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
    guard outcome == .served, status == 200,
      let tags = try? JSONDecoder().decode(Tags.self, from: Data(content.readableBytesView))
    else {
      return done(.failure(.noModelList))
    }
    done(
      .success(
        InstalledModels(all: tags.models.map(\.name), ofChat: tags.models.filter { !$0.embeds }.map(\.name))))
  }
}
