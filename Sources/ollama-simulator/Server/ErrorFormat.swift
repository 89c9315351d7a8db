import OllamaAPI

/// Ollama's own errors, which differ from the pool's in OpenAI's dialect: only three types.
enum ErrorFormat {
  static func body(_ dialect: Dialect, _ refusal: Refusal) -> [UInt8] {
    guard dialect == .openAI else {
      return ErrorBody.make(dialect, status: refusal.status, message: refusal.message, requestID: "req_simulated")
    }
    let type: JSON =
      switch refusal.status {
      case 400: "invalid_request_error"
      case 404: "not_found_error"
      default: "api_error"
      }
    let error: JSON = ["message": .string(refusal.message), "type": type, "param": .null, "code": .null]
    return (["error": error] as JSON).line
  }
}
