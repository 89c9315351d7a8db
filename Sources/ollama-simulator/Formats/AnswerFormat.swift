import OllamaAPI

/// What an answer amounted to.
struct Summary: Sendable {
  /// As Ollama names it: "stop" or "length".
  let reason: String
  let promptTokens: Int
  let tokens: Int
  let nanoseconds: Int
  let loadNanoseconds: Int
  let promptNanoseconds: Int
  let tokenNanoseconds: Int
}

/// How an endpoint writes its answers down.
protocol AnswerFormat {
  /// Of a stream.
  var contentType: String { get }
  mutating func token(_ text: String) -> [UInt8]
  mutating func toolCall(_ call: ToolCall) -> [UInt8]
  /// What ends a stream.
  mutating func end(_ summary: Summary) -> [UInt8]
  /// The whole answer, where it is no stream.
  func whole(_ text: String, calls: [ToolCall], _ summary: Summary) -> [UInt8]
  /// What a stream says when the runner died; nothing, except in Ollama's own dialect.
  func failure(_ refusal: Refusal) -> [UInt8]
  /// The answer to a request that only loads or unloads.
  func loaded(_ reason: String) -> [UInt8]
}

extension AnswerFormat {
  var contentType: String { "text/event-stream" }
  func failure(_ refusal: Refusal) -> [UInt8] { [] }
  func loaded(_ reason: String) -> [UInt8] { [] }
}

enum AnswerFormats {
  static func make(_ endpoint: InferenceEndpoint, model: String, includesUsage: Bool) -> any AnswerFormat {
    switch endpoint {
    case .chatCompletions, .openAIEmbeddings: ChatCompletionFormat(model: model, includesUsage: includesUsage)
    case .completions: CompletionFormat(model: model, includesUsage: includesUsage)
    case .responses: ResponsesFormat(model: model)
    case .messages: MessagesFormat(model: model)
    case .chat: NativeFormat(model: model, isChat: true)
    case .generate, .embed, .embeddings, .transcriptions: NativeFormat(model: model, isChat: false)
    }
  }

  /// A server-sent event that has only data.
  static func event(_ data: JSON) -> [UInt8] { Array("data: ".utf8) + data.bytes + Array("\n\n".utf8) }

  static func event(_ name: String, _ data: JSON) -> [UInt8] { Array("event: \(name)\n".utf8) + event(data) }
}
