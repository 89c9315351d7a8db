import OllamaAPI

/// OpenAI's `/v1/responses`: numbered events, each with a name.
struct ResponsesFormat: AnswerFormat {
  let model: String
  private let created = WallTime.now.seconds
  private var number = -1
  private var text = ""
  private var calls: [ToolCall] = []
  private var hasBegun = false
  private var hasBegunText = false

  init(model: String) { self.model = model }

  mutating func token(_ word: String) -> [UInt8] {
    var events = beginIfNeeded()
    if !hasBegunText {
      hasBegunText = true
      events += event("response.output_item.added", [("output_index", 0), ("item", message("in_progress", nil))])
      events += event("response.content_part.added", place + [("part", part(""))])
    }
    text += word
    return events + event("response.output_text.delta", place + [("delta", .string(word)), ("logprobs", [])])
  }

  mutating func toolCall(_ call: ToolCall) -> [UInt8] {
    var events = beginIfNeeded()
    calls.append(call)
    let item = functionCall(call)
    events += event("response.output_item.added", [("output_index", 0), ("item", item)])
    events += event("response.output_item.done", [("output_index", 0), ("item", item)])
    return events
  }

  mutating func end(_ summary: Summary) -> [UInt8] {
    var events = beginIfNeeded()
    if hasBegunText {
      events += event("response.output_text.done", place + [("text", .string(text)), ("logprobs", [])])
      events += event("response.content_part.done", place + [("part", part(text))])
      events += event("response.output_item.done", [("output_index", 0), ("item", message("completed", text))])
    }
    let complete = response("completed", output(text, calls), summary)
    return events + event("response.completed", [("response", complete)])
  }

  func whole(_ text: String, calls: [ToolCall], _ summary: Summary) -> [UInt8] {
    response("completed", output(text, calls), summary).line
  }

  private mutating func beginIfNeeded() -> [UInt8] {
    guard !hasBegun else { return [] }
    hasBegun = true
    let begun = response("in_progress", [], nil)
    return event("response.created", [("response", begun)]) + event("response.in_progress", [("response", begun)])
  }

  private mutating func event(_ type: String, _ members: [(String, JSON)]) -> [UInt8] {
    number += 1
    return AnswerFormats.event(
      type, .object([("type", .string(type)), ("sequence_number", .integer(number))] + members))
  }

  private var place: [(String, JSON)] { [("item_id", .string(itemID)), ("output_index", 0), ("content_index", 0)] }
  private var itemID: String { "msg_\(created % 1_000_000)" }

  private func part(_ text: String) -> JSON {
    ["type": "output_text", "text": .string(text), "annotations": [], "logprobs": []]
  }

  private func message(_ status: String, _ text: String?) -> JSON {
    [
      "id": .string(itemID), "type": "message", "status": .string(status), "role": "assistant",
      "content": .array(text.map { [part($0)] } ?? []),
    ]
  }

  private func functionCall(_ call: ToolCall) -> JSON {
    [
      "id": .string("fc_\(call.id)"), "type": "function_call", "status": "completed", "call_id": .string(call.id),
      "name": .string(call.name), "arguments": .string(String(decoding: call.arguments.bytes, as: UTF8.self)),
    ]
  }

  private func output(_ text: String, _ calls: [ToolCall]) -> [JSON] {
    (text.isEmpty ? [] : [message("completed", text)]) + calls.map(functionCall)
  }

  private func response(_ status: String, _ output: [JSON], _ summary: Summary?) -> JSON {
    [
      "id": .string("resp_\(created % 1_000_000)"), "object": "response", "created_at": .integer(created),
      "status": .string(status), "error": .null, "incomplete_details": .null, "model": .string(model),
      "output": .array(output), "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
      "usage": summary.map {
        [
          "input_tokens": .integer($0.promptTokens), "input_tokens_details": ["cached_tokens": 0],
          "output_tokens": .integer($0.tokens), "output_tokens_details": ["reasoning_tokens": 0],
          "total_tokens": .integer($0.promptTokens + $0.tokens),
        ]
      } ?? .null,
    ]
  }
}
