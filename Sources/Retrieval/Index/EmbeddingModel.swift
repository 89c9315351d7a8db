import FoundationEssentials

/// A model that turns texts into vectors, and how `/api/embed` is spoken with.
package struct EmbeddingModel: Equatable, Sendable {
  package let name: String

  package init(_ name: String) { self.name = name }

  /// What a model was trained to see before a text; Ollama adds nothing. From the models' cards: nomic-ai/
  /// nomic-embed-text-v1.5, mixedbread-ai/mxbai-embed-large-v1.
  private var prefixes: (question: String, passage: String) {
    let family = name.split(separator: "/").last.map { $0.lowercased() } ?? ""
    if family.hasPrefix("nomic-embed-text") { return ("search_query: ", "search_document: ") }
    if family.hasPrefix("mxbai-embed") { return ("Represent this sentence for searching relevant passages: ", "") }
    return ("", "")
  }

  package func request(question: String) -> [UInt8] { request([prefixes.question + question]) }

  package func request(passages: [Passage]) -> [UInt8] {
    request(passages.map { "\(prefixes.passage)\($0.title)\n\($0.text)" })
  }

  private struct Request: Encodable {
    var model: String
    var input: [String]
    var truncate = true
  }

  private struct Answer: Decodable { var embeddings: [[Float]] }

  private func request(_ input: [String]) -> [UInt8] {
    // Strings can always be encoded.
    ((try? JSONEncoder().encode(Request(model: name, input: input))).map { Array($0) }) ?? []
  }

  /// - Parameter count: how many texts were sent.
  package func vectors(_ answer: [UInt8], count: Int) throws(RetrievalError) -> [Vector] {
    guard let decoded = try? JSONDecoder().decode(Answer.self, from: Data(answer)) else {
      throw RetrievalError(.badEmbedding, "\(name) answered with no embeddings")
    }
    let vectors = decoded.embeddings.compactMap(Vector.init)
    guard vectors.count == count, Set(vectors.map(\.numbers.count)).count <= 1 else {
      throw RetrievalError(
        .badEmbedding,
        "\(name) answered with \(vectors.count) usable embeddings of \(count): name a model that makes embeddings")
    }
    return vectors
  }
}
