import FoundationEssentials
import NIOCore
import OllamaAPI
import PoolCore

/// A model that is installed.
struct InstalledModel: Equatable {
  let name: String
  /// Whether it answers questions: others only make embeddings, or images.
  let chats: Bool
  /// Whether the instance says so. Else it is guessed.
  let isDeclared: Bool

  /// - Parameter list: the body of an answer of `/api/tags`.
  /// - Returns: nil for what is no list.
  static func all(in list: ByteBuffer) -> [InstalledModel]? {
    let tags = try? JSONDecoder().decode(Tags.self, from: Data(list.readableBytesView))
    return tags?.models.map { entry in
      InstalledModel(
        name: entry.name, chats: entry.capabilities?.contains("completion") ?? !entry.seemsToEmbed,
        isDeclared: entry.capabilities != nil)
    }
  }

  private struct Tags: Decodable {
    struct Entry: Decodable {
      struct Details: Decodable {
        var family: String?
        var families: [String]?
      }

      var name: String
      var details: Details?
      var capabilities: [String]?

      /// Older servers tell a model's family alone, and of one that shares it with models that chat, nothing but the
      /// name.
      var seemsToEmbed: Bool {
        let families = (details?.families ?? []) + [details?.family].compactMap(\.self)
        return families.contains { $0.lowercased().contains("bert") } || name.lowercased().contains("embed")
      }
    }

    var models: [Entry]
  }
}

extension [InstalledModel] {
  /// The names of those that answer questions.
  var thatChat: [String] { filter(\.chats).map(\.name) }

  subscript(name: String) -> InstalledModel? {
    let key = ModelName.key(of: name)
    return first { ModelName.key(of: $0.name) == key }
  }

  /// The model of a question: the one that it names, or the only one that answers any.
  func choice(_ wanted: String?) -> Result<String, ChatError> {
    guard let wanted else {
      return thatChat.count == 1 ? .success(thatChat[0]) : .failure(.modelNeeded(thatChat))
    }
    // A guess is no reason to refuse.
    if let problem = problem(with: wanted), self[wanted]?.isDeclared != false { return .failure(problem) }
    return .success(wanted)
  }

  /// Why a model can't answer questions; nil where it should.
  func problem(with name: String) -> ChatError? {
    guard let model = self[name] else { return .modelNotFound(name, instead: thatChat) }
    return model.chats ? nil : .modelCannotChat(name, instead: thatChat)
  }
}
