/// How an answer's body is laid out, as far as its end goes.
package enum StreamFormat: Sendable, Hashable, CaseIterable {
  /// Ollama's generate and chat: one JSON object a line, the last with `"done":true`.
  case generation
  /// Ollama's pull, push and create: one JSON object a line, the last `{"status":"success"}`.
  case progress
  /// OpenAI's server-sent events, ended by `data: [DONE]`, or by `event: response.completed` in the Responses API.
  case openAIEvents
  /// Anthropic's server-sent events, ended by `event: message_stop`.
  case anthropicEvents
  /// No stream: complete when the HTTP message is.
  case wholeMessage

  /// The format of an answer to `route`, by its header.
  ///
  /// - Parameter contentType: the value of the answer's `Content-Type`.
  package static func of(_ route: Route, status: Int, contentType: String?) -> StreamFormat {
    guard status == 200, let contentType = contentType?.lowercased() else { return .wholeMessage }
    if contentType.hasPrefix("application/x-ndjson") {
      return route.kind == .modelManagement ? .progress : .generation
    }
    if contentType.hasPrefix("text/event-stream") {
      return route.dialect == .anthropic ? .anthropicEvents : .openAIEvents
    }
    return .wholeMessage
  }
}
