/// A model that an instance holds in memory, as far as the dispatcher knows: by the answers that it began, by its own
/// loads and by the instance's lists.
///
/// A list alone is no proof while something is being loaded: Ollama lists a model from the beginning of its load on.
package struct HeldModel: Hashable, Sendable {
  /// What it was loaded with; nil where no request of this dispatcher's has shown that.
  package internal(set) var options: RunnerOptions?
  /// In tokens, as the instance last listed it.
  var contextLength: Int?
  /// In tokens, for a request that names no length; nil until a list has told.
  var defaultContextLength: Int?
  /// When it was last known to be there. A list that was asked for earlier can't say that it is not.
  var knownAt: Instant

  init(options: RunnerOptions? = nil, contextLength: Int? = nil, knownAt: Instant) {
    self.options = options
    self.contextLength = contextLength
    self.knownAt = knownAt
  }

  /// Whether a request with these options is served without loading the model anew. Where its options are not known,
  /// what is known decides.
  package func serves(_ new: RunnerOptions) -> Bool {
    guard let options else {
      return new.contextLength == nil || contextLength == nil || new.contextLength == contextLength
    }
    return !new.differsBesidesContext(from: options) && hasContext(of: new, options)
  }

  private func hasContext(of new: RunnerOptions, _ options: RunnerOptions) -> Bool {
    if new.contextLength == options.contextLength { return true }
    guard let wanted = new.contextLength ?? defaultContextLength else { return false }
    if wanted == contextLength ?? options.contextLength ?? defaultContextLength { return true }
    // The model has no more than this: whatever is beyond comes to the same.
    guard let contextLength, let asked = options.contextLength, asked > contextLength else { return false }
    return wanted >= contextLength
  }

  /// An answer has begun to a request with these options.
  ///
  /// - Returns: whether the model was loaded anew for it.
  mutating func answered(_ new: RunnerOptions, at now: Instant) -> Bool {
    knownAt = now
    guard serves(new) else {
      options = new
      contextLength = nil
      return true
    }
    if options == nil { options = new }
    learnDefault()
    return false
  }

  /// The instance has listed it.
  mutating func listed(_ model: LoadedModel, at asked: Instant) {
    knownAt = max(knownAt, asked)
    contextLength = model.contextLength
    learnDefault()
  }

  private mutating func learnDefault() {
    if let options, options.contextLength == nil { defaultContextLength = contextLength ?? defaultContextLength }
  }
}
