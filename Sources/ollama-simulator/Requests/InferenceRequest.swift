import OllamaAPI

/// A tool that a request offers.
struct Tool: Sendable {
  let name: String
  /// The names and the types of its parameters.
  let parameters: [(name: String, type: String)]

  /// Reads a tool of Ollama's and OpenAI's dialect, or of Anthropic's.
  init?(_ json: JSON) {
    let function = json["function"] ?? json
    guard let name = function["name"]?.string else { return nil }
    self.name = name
    let schema = function["parameters"] ?? function["input_schema"]
    guard case .object(let properties)? = schema?["properties"] else {
      parameters = []
      return
    }
    parameters = properties.map { ($0.0, $0.1["type"]?.string ?? "string") }.sorted { $0.0 < $1.0 }
  }
}

/// A call of a tool, with arguments that fit its parameters and mean nothing.
struct ToolCall: Sendable {
  let id: String
  let name: String
  let arguments: JSON

  init(_ tool: Tool, id: String) {
    self.id = id
    name = tool.name
    arguments = .object(
      tool.parameters.map { name, type in
        let value: JSON =
          switch type {
          case "integer", "number": 1
          case "boolean": true
          case "array": []
          case "object": [:]
          default: "simulated"
          }
        return (name, value)
      })
  }
}

/// What a request asks a model for, whatever its dialect.
struct InferenceRequest: Sendable {
  /// As the client wrote it; the answer repeats it.
  let model: String
  let streams: Bool
  /// The last thing that the user said.
  let prompt: String
  /// Bytes of all text in the request, from which the prompt's tokens are guessed.
  let promptLength: Int
  /// No prompt at all: only load the model, or unload it.
  let isEmpty: Bool
  /// nil: as many as the server likes.
  let tokenLimit: Int?
  let seed: UInt64?
  let contextLength: Int?
  let keepAlive: KeepAlive?
  let tools: [Tool]
  let includesUsage: Bool
  /// Texts to embed.
  let inputs: [String]
  let wantsBase64: Bool
  let dimensions: Int?

  /// About four bytes a token.
  var promptTokens: Int { max(1, promptLength / 4) }

  /// The tool that the prompt asks to be called.
  var toolToCall: Tool? {
    guard prompt.lowercased().contains("call the tool") else { return nil }
    return tools.first { prompt.contains($0.name) } ?? tools.first
  }

  init(_ json: JSON, _ endpoint: InferenceEndpoint) throws(Refusal) {
    model = json["model"]?.string ?? ""
    if model.isEmpty { throw .badRequest("model is required") }
    streams = json["stream"]?.bool ?? (endpoint == .generate || endpoint == .chat)
    let options = json["options"]
    let limit =
      options?["num_predict"]?.integer ?? json["max_tokens"]?.integer ?? json["max_completion_tokens"]?.integer
      ?? json["max_output_tokens"]?.integer
    tokenLimit = limit.flatMap { $0 > 0 ? $0 : nil }
    seed = (options?["seed"] ?? json["seed"])?.integer.map { UInt64(bitPattern: Int64($0)) }
    contextLength = options?["num_ctx"]?.integer.flatMap { $0 > 0 ? $0 : nil }
    keepAlive = try Self.keepAlive(json["keep_alive"])
    tools = (json["tools"]?.array ?? []).compactMap(Tool.init)
    includesUsage = json["stream_options"]?["include_usage"]?.bool ?? false
    wantsBase64 = json["encoding_format"]?.string?.lowercased() == "base64"
    dimensions = json["dimensions"]?.integer.flatMap { $0 > 0 ? $0 : nil }

    var texts: [String] = []
    switch endpoint {
    case .generate, .completions, .embeddings:
      texts = Self.texts(json["prompt"])
    case .chat, .chatCompletions, .messages:
      let messages = json["messages"]?.array ?? []
      if messages.isEmpty && endpoint != .chat { throw .badRequest("[] is too short - 'messages'") }
      if endpoint == .messages && tokenLimit == nil { throw .badRequest("max_tokens is required and must be positive") }
      texts = messages.map { Self.texts($0["content"]).joined(separator: " ") }
    case .embed, .openAIEmbeddings, .responses:
      texts = Self.texts(json["input"])
      if json["input"] == nil && endpoint != .responses { throw .badRequest("invalid input") }
    case .transcriptions: break
    }
    inputs = texts
    prompt = texts.last ?? ""
    promptLength = texts.reduce(0) { $0 + $1.utf8.count } + (json["system"]?.string?.utf8.count ?? 0)
    isEmpty =
      switch endpoint {
      case .generate: prompt.isEmpty
      case .chat: texts.isEmpty
      default: false
      }
  }

  private static func keepAlive(_ json: JSON?) throws(Refusal) -> KeepAlive? {
    guard let json else { return nil }
    if let seconds = json.double { return KeepAlive(seconds: seconds) }
    guard let text = json.string, let keepAlive = KeepAlive(text: text) else {
      throw .badRequest("time: invalid duration in keep_alive")
    }
    return keepAlive
  }

  /// The texts in a prompt, an input or a message's content: one, a list, or a list of blocks.
  private static func texts(_ json: JSON?) -> [String] {
    switch json {
    case .string(let text)?: [text]
    case .array(let parts)?:
      parts.map { part in
        part.string ?? part["text"]?.string ?? texts(part["content"]).joined(separator: " ")
      }
    default: []
    }
  }
}
