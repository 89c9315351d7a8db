/// The requests that the pool makes on its own account.
package struct Probe: Sendable, Hashable {
  package let method: String
  package let path: String
  package let body: [UInt8]

  /// Whether the instance serves HTTP: takes none of the scheduler's locks, and is nothing that a model could refuse.
  package static let liveness = Probe(method: "GET", path: "/api/version", body: [])

  /// What it holds in memory. Can stall while a model loads: no sign of life.
  package static let processList = Probe(method: "GET", path: "/api/ps", body: [])

  /// The models in the store, and where they are computed.
  package static let modelListing = Probe(method: "GET", path: "/api/tags", body: [])

  /// Loads `model` and keeps it for ever.
  ///
  /// - Parameter contextLength: in tokens; nil for the model's or the instance's own.
  package static func preload(_ model: String, contextLength: Int? = nil) -> Probe {
    Probe(method: "POST", path: "/api/generate", body: load(model, contextLength, #","keep_alive":-1,"stream":false}"#))
  }

  /// Loads an embedding model, which only real work loads.
  package static func preloadEmbedding(_ model: String, contextLength: Int? = nil) -> Probe {
    Probe(method: "POST", path: "/api/embed", body: load(model, contextLength, #","input":"ok","keep_alive":-1}"#))
  }

  private static func load(_ model: String, _ contextLength: Int?, _ end: String) -> [UInt8] {
    var json = JSONWriter()
    json.raw("{\"model\":")
    json.string(model)
    if let contextLength { json.text(#","options":{"num_ctx":\#(contextLength)}"#) }
    json.text(end)
    return json.bytes
  }

  package enum PreloadResult: Sendable, Hashable {
    case loaded
    /// An embedding model: ask again with ``preloadEmbedding(_:)``.
    case doesNotGenerate
    case failed(message: String)
  }

  /// Reads the answer to ``preload(_:)`` or ``preloadEmbedding(_:)``.
  package static func preloadResult(status: Int, body: [UInt8]) -> PreloadResult {
    if status == 200 { return .loaded }
    let message = ErrorBody.message(in: body) ?? "status \(status)"
    return status == 400 && message.contains("does not support generate") ? .doesNotGenerate : .failed(message: message)
  }
}
