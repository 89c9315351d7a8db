import FoundationEssentials
import OllamaAPI

/// Embeddings: vectors of length 1, the same for the same text, and similar for texts of similar words.
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

  /// The sum of made-up vectors of its words, so that texts with words in common point into a similar direction.
  private static func vector(_ text: String, _ count: Int) -> [Double] {
    let words = text.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init)
    var numbers = [Double](repeating: 0, count: count)
    for word in Set(words).sorted() + (words.isEmpty ? [text] : []) {
      let ofWord = Words(seed: 0, prompt: word)
      for index in numbers.indices { numbers[index] += ofWord.number(index) }
    }
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
