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
  /// Models that an error names.
  private static let mostNamed = 20
  /// What an error repeats of a name, in characters.
  private static let longestRepeated = 100

  private final class State {
    var models = InstalledModels()
    var listedAt: Instant?
    var waiting: [(Result<InstalledModels, PoolError>) -> Void] = []
  }

  private let state = State()

  /// Whether a model of this name was listed, however long ago.
  func knows(_ name: String) -> Bool { Self.contains(state.models.all, name) }

  private static func contains(_ names: [String], _ name: String) -> Bool {
    let key = ModelName.key(of: name)
    return names.contains { ModelName.key(of: $0) == key }
  }

  /// The list, asked for anew where it is old. It may take as long as an instance takes to start.
  func list(at now: Instant, _ gateway: Gateway, _ done: @escaping (Result<InstalledModels, PoolError>) -> Void) {
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
  static func choose(_ wanted: String?, of models: InstalledModels) -> Result<String, PoolError> {
    let names = models.ofChat
    let named = names.prefix(mostNamed).joined(separator: ", ")
    let others = names.count > mostNamed ? " and \(names.count - mostNamed) more" : ""
    let list = names.isEmpty ? "None is installed that can chat." : "There are: \(named)\(others)."
    if let wanted {
      guard contains(models.all, wanted) else {
        return .failure(
          PoolError(
            status: 404, code: "model_not_found",
            message: "There is no model '\(wanted.prefix(longestRepeated))'. \(list)"))
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

  private let done: (Result<InstalledModels, PoolError>) -> Void
  private var status = 0
  private var content = ByteBuffer()

  init(_ done: @escaping (Result<InstalledModels, PoolError>) -> Void) { self.done = done }

  func requestBody(at address: SocketAddress, _ done: @escaping (Result<ByteBuffer, PoolError>) -> Void) {
    done(.success(ByteBuffer()))
  }
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
    done(
      .success(
        InstalledModels(all: tags.models.map(\.name), ofChat: tags.models.filter { !$0.embeds }.map(\.name))))
  }
}
