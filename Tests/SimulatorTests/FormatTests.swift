import Foundation
import TestSupport
import Testing

@Suite struct FormatTests {
  static let user = #""messages":[{"role":"user","content":"hello there"}]"#

  @Test func `chat and generate are lines that end with done and durations`() async throws {
    let simulator = try await Simulator.start()
    let chat = try await simulator.post("/api/chat", #"{"model":"llama3.2",\#(Self.user)}"#)
    #expect(chat.head["Content-Type"] == "application/x-ndjson")
    #expect(chat.head["Transfer-Encoding"] == "chunked")
    #expect(chat.lines.count == 9)
    #expect(chat.lines.dropLast().allSatisfy { $0["done"] as? Bool == false })
    let last = try #require(chat.lines.last)
    #expect(last["done"] as? Bool == true && last["done_reason"] as? String == "stop")
    for key in ["total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_duration"] {
      #expect((last[key] as? Int ?? 0) > 0, "\(key)")
    }
    #expect(last["eval_count"] as? Int == 8)
    let text = chat.lines.compactMap { ($0["message"] as? [String: Any])?["content"] as? String }.joined()
    #expect(text.split(separator: " ").count == 8)
    let again = try await simulator.post("/api/chat", #"{"model":"llama3.2","stream":false,\#(Self.user)}"#)
    #expect(
      (again.object["message"] as? [String: Any])?["content"] as? String == text, "the same prompt, the same words")
    #expect(again.head["Content-Type"] == "application/json; charset=utf-8")

    let generate = try await simulator.post(
      "/api/generate", #"{"model":"llama3.2","prompt":"x","options":{"num_predict":3}}"#)
    #expect(generate.lines.count == 4)
    #expect(generate.lines.last?["done_reason"] as? String == "length")
    #expect(generate.lines.last?["context"] != nil && generate.lines.last?["response"] as? String == "")
  }

  @Test func `each token is sent at once`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_TOKENS_PER_SECOND": "20"])
    // It would take half a million seconds to fill a buffer with this answer.
    let stream = try await simulator.open(
      "/api/generate", #"{"model":"llama3.2","prompt":"x","options":{"num_predict":10000000}}"#)
    _ = try await stream.head()
    for _ in 0..<3 { #expect(try await stream.piece()?.text.hasSuffix("\"done\":false}\n") == true) }
    await stream.close()
  }

  @Test func `OpenAI's chat is events that end with DONE`() async throws {
    let simulator = try await Simulator.start()
    let answer = try await simulator.post(
      "/v1/chat/completions",
      #"{"model":"llama3.2","stream":true,"stream_options":{"include_usage":true},\#(Self.user)}"#)
    #expect(answer.head["Content-Type"] == "text/event-stream")
    #expect(answer.text.hasSuffix("data: [DONE]\n\n"))
    let chunks = answer.events.dropLast().map { JSONText.object($0.data) }
    #expect(chunks.count == 10)
    #expect(chunks.allSatisfy { $0["object"] as? String == "chat.completion.chunk" })
    let finish = (chunks[8]["choices"] as? [[String: Any]])?.first?["finish_reason"]
    #expect(finish as? String == "stop")
    #expect((chunks[9]["usage"] as? [String: Int])?["completion_tokens"] == 8)
    #expect((chunks[9]["choices"] as? [Any])?.isEmpty == true)

    let whole = try await simulator.post("/v1/chat/completions", #"{"model":"llama3.2",\#(Self.user)}"#)
    #expect(whole.object["object"] as? String == "chat.completion")
    #expect((whole.object["usage"] as? [String: Int])?["total_tokens"] != nil)
    let completion = try await simulator.post("/v1/completions", #"{"model":"llama3.2","prompt":"x","stream":true}"#)
    #expect(completion.text.hasSuffix("data: [DONE]\n\n"))
    #expect(JSONText.object(completion.events[0].data)["object"] as? String == "text_completion")
  }

  @Test func `Anthropic's messages are named events that end with message_stop`() async throws {
    let simulator = try await Simulator.start()
    let answer = try await simulator.post(
      "/v1/messages", #"{"model":"llama3.2","max_tokens":2,"stream":true,\#(Self.user)}"#)
    #expect(
      answer.events.map(\.name) == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
      ])
    for event in answer.events { #expect(JSONText.object(event.data)["type"] as? String == event.name) }
    let whole = try await simulator.post("/v1/messages", #"{"model":"llama3.2","max_tokens":100,\#(Self.user)}"#)
    #expect(whole.object["type"] as? String == "message" && whole.object["stop_reason"] as? String == "max_tokens")
    let missing = try await simulator.post("/v1/messages", #"{"model":"llama3.2",\#(Self.user)}"#)
    #expect(missing.status == 400 && missing.object["type"] as? String == "error")
  }

  @Test func `responses are numbered events that end with response_completed`() async throws {
    let simulator = try await Simulator.start()
    let answer = try await simulator.post("/v1/responses", #"{"model":"llama3.2","input":"hello","stream":true}"#)
    #expect(answer.events.first?.name == "response.created" && answer.events.last?.name == "response.completed")
    let numbers = answer.events.compactMap { JSONText.object($0.data)["sequence_number"] as? Int }
    #expect(numbers == Array(0..<answer.events.count))
  }

  @Test func `a tool is called when the prompt asks for it`() async throws {
    let simulator = try await Simulator.start()
    let parameters = #"{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}}"#
    let tools = #""tools":[{"type":"function","function":{"name":"weather","parameters":\#(parameters)}}]"#
    let ask = #""messages":[{"role":"user","content":"Call the tool, please"}]"#
    let chat = try await simulator.post("/api/chat", #"{"model":"llama3.2",\#(tools),\#(ask)}"#)
    let message = try #require(chat.lines.first?["message"] as? [String: Any])
    let call = try #require((message["tool_calls"] as? [[String: Any]])?.first?["function"] as? [String: Any])
    #expect(call["name"] as? String == "weather")
    #expect((call["arguments"] as? [String: Any])?["city"] as? String == "simulated")
    #expect((call["arguments"] as? [String: Any])?["days"] as? Int == 1)
    #expect(chat.lines.last?["done"] as? Bool == true)

    let openAI = try await simulator.post(
      "/v1/chat/completions", #"{"model":"llama3.2","stream":true,\#(tools),\#(ask)}"#)
    #expect(openAI.text.contains(#""finish_reason":"tool_calls""#))
    let anthropicTool = #""tools":[{"name":"weather","input_schema":\#(parameters)}]"#
    let anthropic = try await simulator.post(
      "/v1/messages", #"{"model":"llama3.2","max_tokens":9,"stream":true,\#(anthropicTool),\#(ask)}"#)
    #expect(anthropic.text.contains(#""type":"tool_use""#) && anthropic.text.contains(#""stop_reason":"tool_use""#))

    let plain = try await simulator.post("/api/chat", #"{"model":"llama3.2","stream":false,\#(tools),\#(Self.user)}"#)
    #expect((plain.object["message"] as? [String: Any])?["tool_calls"] == nil)
  }

  @Test func `embeddings are the same for the same text`() async throws {
    let simulator = try await Simulator.start()
    let two = try await simulator.post("/api/embed", #"{"model":"nomic-embed-text","input":["a","b"],"dimensions":8}"#)
    let vectors = try #require(two.object["embeddings"] as? [[Double]])
    #expect(vectors.count == 2 && vectors[0].count == 8 && vectors[0] != vectors[1])
    let one = try await simulator.post("/api/embeddings", #"{"model":"nomic-embed-text","prompt":"a"}"#)
    #expect((one.object["embedding"] as? [Double])?.count == 768)
    let openAI = try await simulator.post(
      "/v1/embeddings", #"{"model":"nomic-embed-text","input":"a","dimensions":8,"encoding_format":"base64"}"#)
    let text = try #require((openAI.object["data"] as? [[String: Any]])?.first?["embedding"] as? String)
    let floats = try #require(Data(base64Encoded: text)).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    #expect(floats == vectors[0].map(Float.init))
  }

  @Test func `bad requests have Ollama's statuses and shapes`() async throws {
    let simulator = try await Simulator.start()
    func expect(_ answer: HTTPProbe.Answer, _ status: Int, _ text: String) {
      #expect(
        answer.status == status && (text.isEmpty || answer.text.contains(text)), "\(answer.status) \(answer.text)")
    }
    expect(
      try await simulator.post("/api/chat", #"{"model":"nope",\#(Self.user)}"#), 404,
      #"{"error":"model 'nope' not found"}"#)
    expect(
      try await simulator.post("/v1/chat/completions", #"{"model":"nope",\#(Self.user)}"#), 404,
      #""type":"not_found_error""#)
    expect(
      try await simulator.post("/v1/messages", #"{"model":"nope","max_tokens":1,\#(Self.user)}"#), 404,
      #"{"type":"error","error":{"type":"not_found_error""#)
    expect(
      try await simulator.post("/api/generate", #"{"model":"nomic-embed-text","prompt":"x"}"#), 400,
      "does not support generate")
    expect(try await simulator.post("/api/chat", "not json"), 400, #"{"error":"#)
    expect(try await simulator.post("/api/chat", ""), 400, "missing request body")
    expect(try await simulator.post("/api/chat", "{}"), 400, "model is required")
    expect(
      try await simulator.post("/v1/chat/completions", #"{"model":"llama3.2"}"#), 400, "[] is too short - 'messages'")
    expect(try await simulator.get("/api/chat"), 405, "405 method not allowed")
    expect(try await simulator.get("/api/nothing"), 404, "404 page not found")
    expect(try await simulator.get("/api/version", headers: [("Host", "example.com")]), 403, "")
    expect(try await simulator.get("/api/version", headers: [("Origin", "http://example.com")]), 403, "")
    let allowed = try await simulator.get("/api/version", headers: [("Origin", "http://localhost:3000")])
    #expect(allowed.head["Access-Control-Allow-Origin"] == "http://localhost:3000")
    let preflight = try await HTTPProbe.exchange(
      "OPTIONS", "/api/chat", port: simulator.port, headers: [("Origin", "http://localhost:3000")])
    #expect(preflight.status == 204 && preflight.head["Access-Control-Allow-Methods"] != nil)
    #expect(try await simulator.get("/").text == "Ollama is running")
    #expect(try await HTTPProbe.exchange("HEAD", "/", port: simulator.port).status == 200)
  }

  @Test func `several requests share a connection, also sent ahead`() async throws {
    let simulator = try await Simulator.start()
    let probe = try await HTTPProbe.connect(port: simulator.port)
    for _ in 0..<3 { try await probe.send("POST", "/api/generate", body: #"{"model":"llama3.2","prompt":"x"}"#) }
    for _ in 0..<3 { #expect(try await probe.answer().text.contains(#""done":true"#)) }
    await probe.close()
  }
}
