import Foundation
import Testing

import OllamaAPI

@Suite struct ErrorBodyTests {
  @Test func `each dialect has its exact shape`() {
    #expect(
      text(ErrorBody.make(.ollama, status: 404, message: "model 'x' not found")) == #"{"error":"model 'x' not found"}"#)
    #expect(
      text(ErrorBody.make(.openAI, status: 503, message: "busy", code: "queue_full"))
        == #"{"error":{"message":"busy","type":"overloaded_error","param":null,"code":"queue_full"}}"#)
    #expect(
      text(ErrorBody.make(.openAI, status: 400, message: "bad"))
        == #"{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":null}}"#)
    #expect(
      text(ErrorBody.make(.anthropic, status: 503, message: "busy", requestID: "req_1"))
        == #"{"type":"error","error":{"type":"overloaded_error","message":"busy"},"request_id":"req_1"}"#)
    #expect(
      text(ErrorBody.make(.anthropic, status: 500, message: "x"))
        == #"{"type":"error","error":{"type":"api_error","message":"x"}}"#)
  }

  @Test(arguments: [
    (400, "invalid_request_error", "invalid_request_error"), (403, "permission_error", "permission_error"),
    (404, "not_found_error", "not_found_error"), (405, "invalid_request_error", "invalid_request_error"),
    (413, "invalid_request_error", "request_too_large"), (429, "rate_limit_error", "rate_limit_error"),
    (500, "api_error", "api_error"), (502, "api_error", "api_error"), (503, "overloaded_error", "overloaded_error"),
    (504, "api_error", "api_error"),
  ])
  func `a status has its type`(status: Int, openAI: String, anthropic: String) {
    #expect(ErrorBody.type(openAI: status) == openAI)
    #expect(ErrorBody.type(anthropic: status) == anthropic)
  }

  @Test func `a stream ends in its format`() {
    #expect(text(ErrorBody.midStream(.generation, status: 502, message: "x")) == "{\"error\":\"x\"}\n")
    #expect(text(ErrorBody.midStream(.progress, status: 502, message: "x")) == "{\"error\":\"x\"}\n")
    #expect(
      text(ErrorBody.midStream(.openAIEvents, status: 502, message: "x"))
        == "data: {\"error\":{\"message\":\"x\",\"type\":\"api_error\",\"param\":null,\"code\":null}}\n\n")
    #expect(
      text(ErrorBody.midStream(.anthropicEvents, status: 502, message: "x"))
        == "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}\n\n")
    #expect(ErrorBody.midStream(.wholeMessage, status: 502, message: "x").isEmpty)
  }

  @Test(arguments: Dialect.allCases) func `any message survives the way through JSON`(dialect: Dialect) throws {
    let message = "quote \" backslash \\ line\n tab\t bell\u{7} null\u{0} é 😀 </script>"
    let body = ErrorBody.make(dialect, status: 500, message: message, code: message, requestID: message)
    _ = try JSONSerialization.jsonObject(with: Data(body))
    #expect(ErrorBody.message(in: body) == message)
  }

  @Test(arguments: ["", "{}", "[]", "{\"error\":5}", "{\"error\":{}}", "plain text"])
  func `what is no error has no message`(body: String) {
    #expect(ErrorBody.message(in: Array(body.utf8)) == nil)
  }

  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
