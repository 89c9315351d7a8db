import Foundation
import TestSupport
import Testing

/// What an instance answers comes out of the pool byte for byte, and at once.
@Suite(.serialized) struct StreamTests {
  private struct Question: CustomTestStringConvertible {
    let path: String
    let body: String
    var testDescription: String { "POST \(path) \(body)" }
  }

  /// With a model that is loaded, so that both answers tell of the same work.
  private static let questions: [Question] = [
    ("/api/generate", #""prompt":"a""#), ("/api/generate", #""prompt":"a","stream":false"#),
    ("/api/chat", #""messages":[{"role":"user","content":"b"}]"#),
    ("/api/chat", #""messages":[{"role":"user","content":"b"}],"stream":false"#),
    ("/api/embed", #""input":["a","b"]"#),
    ("/v1/chat/completions", #""messages":[{"role":"user","content":"c"}],"stream":true"#),
    (
      "/v1/chat/completions",
      #""messages":[{"role":"user","content":"c"}],"stream":true,"stream_options":{"include_usage":true}"#
    ),
    ("/v1/chat/completions", #""messages":[{"role":"user","content":"c"}]"#),
    ("/v1/completions", #""prompt":"d","stream":true"#), ("/v1/responses", #""input":"e","stream":true"#),
    ("/v1/embeddings", #""input":"a""#),
    ("/v1/messages", #""max_tokens":6,"messages":[{"role":"user","content":"f"}],"stream":true"#),
    ("/v1/messages", #""max_tokens":6,"messages":[{"role":"user","content":"f"}]"#),
  ].map { Question(path: $0, body: #"{"model":"llama3.2",\#($1)}"#) }

  @Test("Answers in all dialects are the instance's own, but for identifiers and times")
  func sameBytes() async throws {
    try await withPool { pool in
      let instance = try await pool.instancePort()
      _ = try await pool.post("/api/generate", #"{"model":"llama3.2"}"#)
      for question in Self.questions {
        let direct = try await HTTPProbe.exchange("POST", question.path, port: instance, body: question.body)
        let through = try await pool.post(question.path, question.body)
        #expect(direct.status == 200 && through.status == 200, "\(question.testDescription): \(through.text)")
        #expect(Self.withoutTimes(direct.text) == Self.withoutTimes(through.text), "\(question.testDescription)")
        #expect(!direct.text.isEmpty && direct.head["Content-Type"] == through.head["Content-Type"])
      }
    }
  }

  /// Takes out what differs between any two answers.
  private static func withoutTimes(_ text: String) -> String {
    text
      .replacing(/"created_at":("[^"]*"|\d+)/, with: #""created_at":"#)
      .replacing(/"([a-z_]*_duration|created)":\d+/) { #""\#($0.output.1)":"# }
      .replacing(/"(item_)?id":"[^"]*"/, with: #""id":"#)
  }

  @Test("Answers without identifiers and times are the same to the last byte")
  func sameBytesExactly() async throws {
    try await withPool { pool in
      let instance = try await pool.instancePort()
      for (method, path, body) in [
        ("GET", "/", ""), ("HEAD", "/", ""), ("GET", "/api/version", ""), ("GET", "/api/tags", ""),
        ("GET", "/v1/models", ""), ("GET", "/v1/models/llama3.2", ""), ("POST", "/api/show", #"{"model":"llama3.2"}"#),
        ("POST", "/api/pull", #"{"model":"llama3.2"}"#), ("POST", "/api/pull", #"{"model":"does-not-exist"}"#),
        ("POST", "/api/chat", #"{"model":"nope","messages":[]}"#), ("POST", "/api/chat", "no JSON"),
        ("POST", "/v1/chat/completions", #"{"model":"nope","messages":[{"role":"user","content":"a"}]}"#),
        ("POST", "/v1/messages", #"{"model":"llama3.2","messages":[]}"#),
      ] {
        let direct = try await HTTPProbe.exchange(method, path, port: instance, body: body)
        let through = try await HTTPProbe.exchange(method, path, port: pool.port, body: body)
        #expect(direct.status == through.status && direct.bytes == through.bytes, "\(method) \(path) \(body)")
        #expect(direct.head["Content-Type"] == through.head["Content-Type"], "\(method) \(path)")
      }
    }
  }

  @Test(
    "Each token comes out as it comes in, also where only one is under way",
    arguments: ["/api/generate", "/v1/completions"])
  func atOnce(path: String) async throws {
    var setup = Pool.Setup()
    setup.simulator = ["TOKENS_PER_SECOND": "5", "TOKENS": "5"]
    try await withPool(setup) { pool in
      let probe = try await pool.open(path, #"{"model":"llama3.2","prompt":"a","stream":true}"#)
      #expect(try await probe.head().status == 200)
      var arrivals: [ContinuousClock.Instant] = []
      while let piece = try await probe.piece() { arrivals.append(piece.receivedAt) }
      // A token takes 200 ms. Were they held back and sent together, there would be one arrival.
      let first = try #require(arrivals.first)
      let steps = Set(arrivals.map { Int(($0 - first) / .milliseconds(100)) })
      #expect(steps.count >= 5, "in tenths of a second after the first: \(steps.sorted())")
    }
  }
}
