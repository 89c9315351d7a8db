import Foundation
import TestSupport
import Testing

/// The endpoint is Ollama's: shown by the clients that others wrote, and for Anthropic's dialect over plain HTTP.
@Suite(.serialized) struct OfficialClientTests {
  @Test(
    "the ollama package lists, chats, embeds, calls tools, pulls and cancels as on Ollama itself",
    .enabled("needs the Python package ollama: see PythonEnvironment") {
      await PythonEnvironment.isReady(for: "ollama")
    })
  func ollama() async throws { try await check("ollama") }

  @Test(
    "the openai package lists, chats, embeds, calls tools, cancels and knows the errors",
    .enabled("needs the Python package openai: see PythonEnvironment") {
      await PythonEnvironment.isReady(for: "openai")
    })
  func openAI() async throws { try await check("openai") }

  private func check(_ package: String) async throws {
    let script = PackageRoot.path(to: "Tests/EndToEndTests/official_clients.py")
    try await withPool { pool in
      let statusCommand = [BuiltProduct.path("ollama-pool"), "status", "--json", "--socket", pool.sockets]
      let result = try await run(PythonEnvironment.interpreter, [script, package, String(pool.port)] + statusCommand)
      #expect(result.end == .exited(0), "\(result.errorOutput)")
      try await pool.expectIdle()
    }
  }

  @Test("Anthropic's messages: whole, as a stream, with a tool, and with its own errors")
  func anthropic() async throws {
    try await withPool { pool in
      func ask(_ more: String, model: String = "llama3.2") async throws -> HTTPProbe.Answer {
        try await pool.post(
          "/v1/messages", #"{"model":"\#(model)","max_tokens":4,"messages":[{"role":"user","content":"hi"}]\#(more)}"#,
          headers: [("anthropic-version", "2023-06-01"), ("x-api-key", "none")])
      }
      let whole = try await ask("")
      let blocks = try #require(whole.object["content"] as? [[String: Any]])
      let text = try #require(blocks.first?["text"] as? String)
      #expect(whole.status == 200 && whole.object["stop_reason"] as? String == "max_tokens")
      #expect((whole.object["usage"] as? [String: Any])?["output_tokens"] as? Int == 4)

      let stream = try await ask(#","stream":true"#)
      #expect(stream.head["Content-Type"]?.hasPrefix("text/event-stream") == true)
      let events = Event.all(in: stream.text)
      #expect(
        events.map(\.name) == ["message_start", "content_block_start"]
          + Array(repeating: "content_block_delta", count: 4)
          + ["content_block_stop", "message_delta", "message_stop"])
      #expect(
        events.compactMap { ($0.object["delta"] as? [String: Any])?["text"] as? String }.joined() == text)

      let missing = try await ask("", model: "nope")
      #expect(missing.status == 404 && missing.object["type"] as? String == "error")
      #expect((missing.object["error"] as? [String: Any])?["type"] as? String == "not_found_error")
    }
  }

  /// A server-sent event.
  private struct Event {
    let name: String
    let object: [String: Any]

    static func all(in text: String) -> [Event] {
      text.components(separatedBy: "\n\n").filter { !$0.isEmpty }.map { event in
        let lines = event.split(separator: "\n")
        func value(_ field: String) -> String {
          lines.first { $0.hasPrefix(field + ": ") }.map { String($0.dropFirst(field.count + 2)) } ?? ""
        }
        let object = try? JSONSerialization.jsonObject(with: Data(value("data").utf8)) as? [String: Any]
        return Event(name: value("event"), object: object ?? [:])
      }
    }
  }
}
