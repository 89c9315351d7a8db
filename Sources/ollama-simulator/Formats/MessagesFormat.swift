import OllamaAPI

/// Anthropic's `/v1/messages`.
struct MessagesFormat: AnswerFormat {
  let model: String
  private let id = "msg_\(WallTime.now.seconds)\(WallTime.now.nanoseconds)"
  private var index = 0
  private var hasBegun = false
  private var isInText = false
  private var calledTool = false

  init(model: String) { self.model = model }

  mutating func token(_ text: String) -> [UInt8] {
    var events = beginIfNeeded()
    if !isInText {
      isInText = true
      events += start(["type": "text", "text": ""])
    }
    return events + delta(["type": "text_delta", "text": .string(text)])
  }

  mutating func toolCall(_ call: ToolCall) -> [UInt8] {
    calledTool = true
    var events = beginIfNeeded() + endText()
    events += start(["type": "tool_use", "id": .string(call.id), "name": .string(call.name), "input": [:]])
    let arguments = String(decoding: call.arguments.bytes, as: UTF8.self)
    events += delta(["type": "input_json_delta", "partial_json": .string(arguments)])
    return events + stop()
  }

  mutating func end(_ summary: Summary) -> [UInt8] {
    var events = beginIfNeeded() + endText()
    let usage: JSON = ["input_tokens": .integer(summary.promptTokens), "output_tokens": .integer(summary.tokens)]
    let reason: JSON = ["stop_reason": .string(stopReason(summary, calledTool))]
    events += AnswerFormats.event("message_delta", ["type": "message_delta", "delta": reason, "usage": usage])
    return events + AnswerFormats.event("message_stop", ["type": "message_stop"])
  }

  func whole(_ text: String, calls: [ToolCall], _ summary: Summary) -> [UInt8] {
    let blocks: [JSON] = text.isEmpty ? [] : [["type": "text", "text": .string(text)]]
    let uses: [JSON] = calls.map {
      ["type": "tool_use", "id": .string($0.id), "name": .string($0.name), "input": $0.arguments]
    }
    return message(blocks + uses, .string(stopReason(summary, !calls.isEmpty)), summary.promptTokens, summary.tokens)
      .line
  }

  private func stopReason(_ summary: Summary, _ calledTool: Bool) -> String {
    if calledTool { return "tool_use" }
    return summary.reason == "length" ? "max_tokens" : "end_turn"
  }

  private func message(_ content: [JSON], _ reason: JSON?, _ input: Int, _ output: Int) -> JSON {
    [
      "id": .string(id), "type": "message", "role": "assistant", "model": .string(model), "content": .array(content),
      "stop_reason": reason, "usage": ["input_tokens": .integer(input), "output_tokens": .integer(output)],
    ]
  }

  private mutating func beginIfNeeded() -> [UInt8] {
    guard !hasBegun else { return [] }
    hasBegun = true
    return AnswerFormats.event("message_start", ["type": "message_start", "message": message([], nil, 0, 0)])
  }

  private mutating func endText() -> [UInt8] {
    guard isInText else { return [] }
    isInText = false
    return stop()
  }

  private func start(_ block: JSON) -> [UInt8] {
    AnswerFormats.event(
      "content_block_start", ["type": "content_block_start", "index": .integer(index), "content_block": block])
  }

  private func delta(_ delta: JSON) -> [UInt8] {
    AnswerFormats.event(
      "content_block_delta", ["type": "content_block_delta", "index": .integer(index), "delta": delta])
  }

  private mutating func stop() -> [UInt8] {
    defer { index += 1 }
    return AnswerFormats.event("content_block_stop", ["type": "content_block_stop", "index": .integer(index)])
  }
}
