import OllamaAPI

extension Summary {
  var usage: JSON {
    [
      "prompt_tokens": .integer(promptTokens), "completion_tokens": .integer(tokens),
      "total_tokens": .integer(promptTokens + tokens),
    ]
  }
}

extension ToolCall {
  /// As OpenAI writes it: the arguments are JSON within a string.
  var openAI: JSON {
    [
      "id": .string(id), "index": 0, "type": "function",
      "function": ["name": .string(name), "arguments": .string(String(decoding: arguments.bytes, as: UTF8.self))],
    ]
  }
}

/// OpenAI's `/v1/chat/completions`.
struct ChatCompletionFormat: AnswerFormat {
  let model: String
  let includesUsage: Bool
  private let created = WallTime.now.seconds
  private var calledTool = false

  init(model: String, includesUsage: Bool) {
    self.model = model
    self.includesUsage = includesUsage
  }

  func token(_ text: String) -> [UInt8] { AnswerFormats.event(chunk(delta(text))) }

  mutating func toolCall(_ call: ToolCall) -> [UInt8] {
    calledTool = true
    return AnswerFormats.event(chunk(delta("", [call.openAI])))
  }

  func end(_ summary: Summary) -> [UInt8] {
    let last = AnswerFormats.event(chunk(delta(""), finish: .string(calledTool ? "tool_calls" : summary.reason)))
    let usage = includesUsage ? AnswerFormats.event(chunk(nil, usage: summary.usage)) : []
    return last + usage + Array("data: [DONE]\n\n".utf8)
  }

  func whole(_ text: String, calls: [ToolCall], _ summary: Summary) -> [UInt8] {
    let choice: JSON = [
      "index": 0, "message": delta(text, calls.map(\.openAI)),
      "finish_reason": .string(calls.isEmpty ? summary.reason : "tool_calls"),
    ]
    let completion: JSON = [
      "id": .string("chatcmpl-\(created % 1000)"), "object": "chat.completion", "created": .integer(created),
      "model": .string(model), "system_fingerprint": "fp_ollama", "choices": [choice], "usage": summary.usage,
    ]
    return completion.line
  }

  private func delta(_ text: String, _ calls: [JSON] = []) -> JSON {
    ["role": "assistant", "content": .string(text), "tool_calls": calls.isEmpty ? nil : .array(calls)]
  }

  private func chunk(_ delta: JSON?, finish: JSON = .null, usage: JSON? = nil) -> JSON {
    let choices: [JSON] = delta.map { [["index": 0, "delta": $0, "finish_reason": finish]] } ?? []
    return [
      "id": .string("chatcmpl-\(created % 1000)"), "object": "chat.completion.chunk", "created": .integer(created),
      "model": .string(model), "system_fingerprint": "fp_ollama", "choices": .array(choices), "usage": usage,
    ]
  }
}

/// OpenAI's `/v1/completions`.
struct CompletionFormat: AnswerFormat {
  let model: String
  let includesUsage: Bool
  private let created = WallTime.now.seconds

  init(model: String, includesUsage: Bool) {
    self.model = model
    self.includesUsage = includesUsage
  }

  func token(_ text: String) -> [UInt8] { AnswerFormats.event(object(text, finish: .null)) }
  func toolCall(_ call: ToolCall) -> [UInt8] { token("") }

  func end(_ summary: Summary) -> [UInt8] {
    let last = AnswerFormats.event(object("", finish: .string(summary.reason)))
    let usage = includesUsage ? AnswerFormats.event(object(nil, finish: .null, usage: summary.usage)) : []
    return last + usage + Array("data: [DONE]\n\n".utf8)
  }

  func whole(_ text: String, calls: [ToolCall], _ summary: Summary) -> [UInt8] {
    object(text, finish: .string(summary.reason), usage: summary.usage).line
  }

  private func object(_ text: String?, finish: JSON, usage: JSON? = nil) -> JSON {
    let choices: [JSON] = text.map { [["text": .string($0), "index": 0, "finish_reason": finish]] } ?? []
    return [
      "id": .string("cmpl-\(created % 1000)"), "object": "text_completion", "created": .integer(created),
      "model": .string(model), "system_fingerprint": "fp_ollama", "choices": .array(choices), "usage": usage,
    ]
  }
}
