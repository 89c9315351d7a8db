/// Errors that the pool itself answers with, in the caller's dialect.
package enum ErrorBody {
  /// The `Content-Type` of ``make(_:status:message:code:requestID:)``.
  package static let contentType = "application/json; charset=utf-8"

  /// The body of an answer whose status is `status`.
  ///
  /// - Parameters:
  ///   - code: a word for programs, for OpenAI's dialect and the pool's only; null without.
  ///   - requestID: for Anthropic's dialect only; left out without.
  package static func make(
    _ dialect: Dialect, status: Int, message: String, code: String? = nil, requestID: String? = nil
  ) -> [UInt8] {
    var json = JSONWriter()
    switch dialect {
    case .ollama:
      json.raw("{\"error\":")
      json.string(message)
      json.raw("}")
    case .openAI:
      json.raw("{\"error\":{\"message\":")
      json.string(message)
      json.raw(",\"type\":")
      json.string(type(openAI: status))
      json.raw(",\"param\":null,\"code\":")
      json.string(code)
      json.raw("}}")
    case .anthropic:
      json.raw("{\"type\":\"error\",\"error\":{\"type\":")
      json.string(type(anthropic: status))
      json.raw(",\"message\":")
      json.string(message)
      json.raw("}")
      if let requestID {
        json.raw(",\"request_id\":")
        json.string(requestID)
      }
      json.raw("}")
    case .pool:
      json.raw("{\"error\":")
      json.string(message)
      json.raw(",\"code\":")
      json.string(code)
      json.raw("}")
    }
    return json.bytes
  }

  /// What ends a stream that has already begun with status 200: a line, or an event.
  ///
  /// - Parameter format: `.wholeMessage` has no such end and gives nothing: there the connection must break.
  package static func midStream(
    _ format: StreamFormat, status: Int, message: String, code: String? = nil, requestID: String? = nil
  ) -> [UInt8] {
    switch format {
    case .generation, .progress:
      make(.ollama, status: status, message: message) + Array("\n".utf8)
    case .openAIEvents:
      Array("data: ".utf8) + make(.openAI, status: status, message: message, code: code) + Array("\n\n".utf8)
    case .anthropicEvents:
      Array("event: error\ndata: ".utf8)
        + make(.anthropic, status: status, message: message, requestID: requestID) + Array("\n\n".utf8)
    case .wholeMessage:
      []
    }
  }

  /// OpenAI's `error.type`.
  package static func type(openAI status: Int) -> String {
    switch status {
    case 401: "authentication_error"
    case 403: "permission_error"
    case 404: "not_found_error"
    case 429: "rate_limit_error"
    case 400..<500: "invalid_request_error"
    case 503: "overloaded_error"
    default: "api_error"
    }
  }

  /// Anthropic's `error.type`.
  package static func type(anthropic status: Int) -> String {
    switch status {
    case 401: "authentication_error"
    case 403: "permission_error"
    case 404: "not_found_error"
    case 413: "request_too_large"
    case 429: "rate_limit_error"
    case 400..<500: "invalid_request_error"
    case 503, 529: "overloaded_error"
    default: "api_error"
    }
  }
}
