import FoundationEssentials
import OllamaAPI

/// Embeddings: vectors of length 1, the same for the same text.
enum EmbeddingFormat {
  static func answer(
    _ request: InferenceRequest, _ endpoint: InferenceEndpoint, nanoseconds: Int, loadNanoseconds: Int
  ) -> JSON {
    let count = min(request.dimensions ?? StoredModel.embeddingLength, 8192)
    let vectors = request.inputs.map { vector($0, count) }
    switch endpoint {
    case .openAIEmbeddings:
      let data = vectors.enumerated().map { index, vector -> JSON in
        [
          "object": "embedding", "embedding": request.wantsBase64 ? .string(base64(vector)) : list(vector),
          "index": .integer(index),
        ]
      }
      return [
        "object": "list", "data": .array(data), "model": .string(request.model),
        "usage": ["prompt_tokens": .integer(request.promptTokens), "total_tokens": .integer(request.promptTokens)],
      ]
    case .embeddings:
      return ["embedding": vectors.first.map(list) ?? []]
    default:
      return [
        "model": .string(request.model), "embeddings": .array(vectors.map(list)),
        "total_duration": .integer(nanoseconds), "load_duration": .integer(loadNanoseconds),
        "prompt_eval_count": .integer(request.promptTokens),
      ]
    }
  }

  private static func vector(_ text: String, _ count: Int) -> [Double] {
    let words = Words(seed: 0, prompt: text)
    let numbers = (0..<count).map(words.number)
    let length = numbers.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return numbers.map { $0 / max(length, .leastNormalMagnitude) }
  }

  /// With the digits that a float has.
  private static func list(_ vector: [Double]) -> JSON {
    .array(vector.map { .number(Double(Float($0).description) ?? 0) })
  }

  /// Little-endian floats, as OpenAI's own client asks for them.
  private static func base64(_ vector: [Double]) -> String {
    var data = Data()
    for number in vector {
      withUnsafeBytes(of: Float(number).bitPattern.littleEndian) { data.append(contentsOf: $0) }
    }
    return data.base64EncodedString()
  }
}
