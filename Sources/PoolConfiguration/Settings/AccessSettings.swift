package import Addresses
package import PoolCore

/// Who may use the endpoint, and as whom.
package struct AccessSettings: Sendable, Equatable {
  package var anonymous = AccessRules.Anonymous.auto

  /// Proxies whose word counts for who somebody is, and where that one is.
  package var trustedProxies: [IPNetwork] = []

  /// The header in which they name the user.
  package var userHeader = "X-Forwarded-User"

  /// The class of a key or a user without one.
  package var defaultClass = Self.standard
  package var anonymousClass = Self.standard

  package static let standard = "standard"

  /// Whether nobody comes in without a key or the word of a proxy, however few of these there are.
  var isRequired: Bool { anonymous == .refuse || (anonymous == .auto && !trustedProxies.isEmpty) }

  package init() {}
}

/// What the users of one class are entitled to.
package struct ClassSettings: Sendable, Equatable {
  /// All of a priority are served before those of the next; 0 first.
  package var priority = 1
  /// Of two users of a priority, one of twice the weight gets twice as many tokens where the queue is fair.
  package var weight = 1.0
  /// Limits for each user; `nil` (`none`): no limit.
  package var requestsPerHour: Int?
  package var tokensPerHour: Int?
  /// Requests at once, waiting and running.
  package var concurrent: Int?
  /// Of these, those that wait.
  package var waiting: Int?

  package init() {}

  /// The classes that are there without a file.
  package static let builtIn: [String: ClassSettings] = {
    var (enterprise, free) = (ClassSettings(), ClassSettings())
    enterprise.priority = 0
    (free.priority, free.requestsPerHour) = (2, 10)
    return ["enterprise": enterprise, AccessSettings.standard: ClassSettings(), "free": free]
  }()

  /// What a class of this name is where the file leaves something out.
  static func blank(_ name: String) -> ClassSettings { builtIn[name] ?? ClassSettings() }
}

/// What is settled for one user whom a trusted proxy names.
package struct UserSettings: Sendable, Equatable {
  /// `nil` (`default`): ``AccessSettings/defaultClass``.
  package var className: String?
  package var role = Caller.Role.user

  package init() {}
}

/// What is looked up before the chat answers.
package struct SourcesSettings: Sendable, Equatable {
  /// Absolute path of the file that `ollama-pool index` writes; `nil` (`none`): no documents.
  package var index: String?

  /// The model by which `ollama-pool index` makes embeddings.
  package var model = "nomic-embed-text"

  /// Passages that a question gets at most.
  package var passages = 4

  /// Passages that fit less, from 0 to 1, are left out.
  package var leastScore = 0.3

  /// An HTTP service that finds passages instead; `nil` (`none`): the index does.
  package var service: ServiceAddress?

  /// After which a question is answered with what was found.
  package var timeout = Duration.seconds(5)

  package init() {}
}

/// The chat.
package struct ChatSettings: Sendable, Equatable {
  /// The model of questions that name none; `nil` (`auto`): the only one that is installed.
  package var defaultModel: String?

  /// What the model is told before every conversation; `nil` (`none`): nothing.
  package var instructions: String?

  /// How long the server goes on with a question whose client was cut off, and keeps the events of one that has ended.
  package var resumeWithin = Duration.seconds(60)

  /// Questions and answers of a session that are shown again, and that the model is told; the store keeps no more.
  package var historyMessages = 100

  /// A session that nobody has used for so long is forgotten.
  package var sessionLifetime = Duration.seconds(30 * 86_400)

  package init() {}
}
