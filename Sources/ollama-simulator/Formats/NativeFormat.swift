import OllamaAPI

/// Ollama's generate and chat: one object a line.
struct NativeFormat: AnswerFormat {
  let model: String
  let isChat: Bool

  let contentType = "application/x-ndjson"

  func token(_ text: String) -> [UInt8] { object(text).line }
  func toolCall(_ call: ToolCall) -> [UInt8] { object("", calls: [call]).line }
  func end(_ summary: Summary) -> [UInt8] { object("", summary: summary).line }

  func whole(_ text: String, calls: [ToolCall], _ summary: Summary) -> [UInt8] {
    object(text, calls: calls, summary: summary).bytes
  }

  func failure(_ refusal: Refusal) -> [UInt8] { (["error": .string(refusal.message)] as JSON).line }

  func loaded(_ reason: String) -> [UInt8] {
    var members = start
    members += content("", [])
    members += [("done", true), ("done_reason", .string(reason))]
    return JSON.object(members).bytes
  }

  private var start: [(String, JSON)] { [("model", .string(model)), ("created_at", .string(WallTime.now.text))] }

  private func content(_ text: String, _ calls: [ToolCall]) -> [(String, JSON)] {
    guard isChat else { return [("response", .string(text))] }
    let list: [JSON] = calls.map {
      ["id": .string($0.id), "function": ["index": 0, "name": .string($0.name), "arguments": $0.arguments]]
    }
    let message: JSON = [
      "role": "assistant", "content": .string(text), "tool_calls": list.isEmpty ? nil : .array(list),
    ]
    return [("message", message)]
  }

  private func object(_ text: String, calls: [ToolCall] = [], summary: Summary? = nil) -> JSON {
    var members = start + content(text, calls)
    members.append(("done", .bool(summary != nil)))
    guard let summary else { return .object(members) }
    members.append(("done_reason", .string(summary.reason)))
    if !isChat { members.append(("context", .array((1...8).map { .integer($0 * 1000) }))) }
    members += [
      ("total_duration", .integer(summary.nanoseconds)), ("load_duration", .integer(summary.loadNanoseconds)),
      ("prompt_eval_count", .integer(summary.promptTokens)),
      ("prompt_eval_duration", .integer(summary.promptNanoseconds)), ("eval_count", .integer(summary.tokens)),
      ("eval_duration", .integer(summary.tokenNanoseconds)),
    ]
    return .object(members)
  }
}
