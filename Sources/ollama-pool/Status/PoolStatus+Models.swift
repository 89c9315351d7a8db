import ControlInterface

/// What the daemons know of models: where they are, and what clients' options cost.
extension PoolStatus {
  struct Store: Encodable, Equatable, Sendable {
    var path: String
    /// Who said that it is there.
    var source: String
    var owner: String
    /// In octal; null where it can't be seen.
    @OrNull var mode: String?
    /// Why the pool changes nothing in it; null where it may.
    @OrNull var refusal: String?
    /// The one instance through which it is changed; null where there is none.
    @OrNull var writer: String?
  }

  /// Loads of a model that was in memory already, because one client's requests had other runner options.
  struct Reloads: Encodable, Equatable, Sendable {
    var model: String
    /// Its address.
    var client: String
    /// Since the dispatcher began.
    var count: Int
    /// Of the last one: where, when, and with what options.
    var instance: String
    var secondsAgo: Double
    var from: String
    var to: String
    /// The options that differ, by Ollama's names.
    var differing: [String]
  }
}

extension PoolStatus.Store {
  init(_ store: SupervisorTypes.ModelStore) {
    path = store.path
    source = store.source
    owner = store.owner
    mode = store.mode
    refusal = store.refusal
    writer = store.writer
  }
}

extension PoolStatus.Reloads {
  init(_ reloads: DispatcherTypes.Reloads) {
    model = reloads.model
    client = reloads.client
    count = reloads.count
    instance = reloads.instance
    secondsAgo = reloads.secondsAgo
    from = reloads.from
    to = reloads.to
    differing = OptionDifference.between(from, to).map(\.option)
  }
}

/// A runner option that two requests give differently.
struct OptionDifference: Equatable {
  /// Ollama's name.
  var option: String
  /// nil for the default.
  var from: String?
  var to: String?

  /// Of options in words, as the dispatcher gives them: `num_ctx 8192, num_gpu 20`.
  static func between(_ from: String, _ to: String) -> [OptionDifference] {
    let (before, after) = (values(from), values(to))
    return Set(before.keys).union(after.keys).sorted().filter { before[$0] != after[$0] }
      .map { OptionDifference(option: $0, from: before[$0], to: after[$0]) }
  }

  private static func values(_ text: String) -> [String: String] {
    let pairs = text.split(separator: ",").compactMap { part -> (String, String)? in
      let words = part.split(separator: " ")
      return words.count == 2 && words[0].contains("_") ? (String(words[0]), String(words[1])) : nil
    }
    return Dictionary(pairs) { first, _ in first }
  }
}
