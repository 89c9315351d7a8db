/// One route of the API, and what the pool does with a request for it.
package struct Route: Sendable, Hashable {
  package enum Kind: Sendable, Hashable {
    /// `/`: the text "Ollama is running".
    case root
    /// Needs a slot, so it goes through the queue, unless its model is one of the cloud.
    case inference(streamsByDefault: Bool, endpoint: InferenceEndpoint)
    /// Reads something that every instance knows: straight to a healthy one.
    case metadata
    /// `/api/ps`: the lists of all instances, merged.
    case processList
    /// Changes the model store: always to the same instance.
    case modelManagement
    /// The account at ollama.com and its cloud services: to an instance that has a way out to the network.
    case account
    /// What the pool itself answers.
    case pool(PoolEndpoint)
  }

  /// How a request's body travels.
  package enum BodyHandling: Sendable, Hashable {
    case none
    /// Read whole before the request is passed on, since it may have to be sent again elsewhere.
    case buffered
    /// Passed on as it comes: it may have any size.
    case streamed
  }

  package let method: String
  /// The path with `:name` for its variable segment, fit to label metrics.
  package let pattern: String
  package let dialect: Dialect
  package let kind: Kind
  package let body: BodyHandling

  package init(method: String, pattern: String, dialect: Dialect, kind: Kind, body: BodyHandling) {
    self.method = method
    self.pattern = pattern
    self.dialect = dialect
    self.kind = kind
    self.body = body
  }

  /// Whether the answer has no body.
  package var isHead: Bool { method == "HEAD" }

  /// Whether Ollama reads the body's `options`.
  package var readsOptions: Bool {
    if case .inference(_, let endpoint) = kind { endpoint.readsOptions } else { false }
  }

  /// Whether its answer has tokens of a model's: embeddings are numbers.
  package var generates: Bool {
    if case .inference(_, let endpoint) = kind { endpoint.canStream } else { false }
  }

  /// Whether the answer is a stream, given what the request's body says.
  package func streams(_ fields: RequestFields?) -> Bool {
    guard case .inference(let byDefault, let endpoint) = kind, endpoint.canStream else { return false }
    return fields?.stream ?? byDefault
  }
}

/// What a request for a model asks of it.
package enum InferenceEndpoint: String, Sendable, Hashable, CaseIterable {
  case generate, chat, embed, embeddings
  case chatCompletions, completions, openAIEmbeddings, responses, transcriptions
  case messages

  package var canStream: Bool {
    switch self {
    case .generate, .chat, .chatCompletions, .completions, .responses, .messages, .transcriptions: true
    case .embed, .embeddings, .openAIEmbeddings: false
    }
  }

  /// Whether Ollama reads the body's `options`.
  package var readsOptions: Bool {
    switch self {
    case .generate, .chat, .embed, .embeddings: true
    case .chatCompletions, .completions, .openAIEmbeddings, .responses, .transcriptions, .messages: false
    }
  }
}

/// What a method and a path lead to.
package enum RouteMatch: Sendable, Hashable {
  case route(Route)
  /// The path exists, with other methods: 405, with these in the header `Allow`.
  case methodNotAllowed(allowed: [String])
  case notFound
}
