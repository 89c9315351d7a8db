import Foundation
import TestSupport

/// A client that talks to the pool's endpoint as Ollama's clients do.
enum Conversation {
  /// How a request was answered.
  struct Answer: Sendable {
    var status: Int
    var text: String
    var firstByteAt: ContinuousClock.Instant

    var lines: [Substring] { text.split(separator: "\n") }
    /// The stream came to its end marker.
    var isDone: Bool { lines.last?.contains("\"done\":true") ?? false }
    var hasErrorLine: Bool { lines.last?.contains("\"error\"") ?? false }
    var tokens: Int { lines.count { $0.contains("\"done\":false") } }
  }

  static func body(tokens: Int, model: String = "llama3.2", stream: Bool = true) -> String {
    """
    {"model":"\(model)","messages":[{"role":"user","content":"hello"}],"stream":\(stream),\
    "options":{"num_predict":\(tokens)}}
    """
  }

  /// A chat that streams so many tokens, read to its end.
  static func chat(tokens: Int, within limit: Duration = .seconds(60)) async throws -> Answer {
    let probe = try await HTTPProbe.connect(port: InstalledPool.port)
    try await probe.send(
      "POST", "/api/chat", headers: [("Content-Type", "application/json")], body: body(tokens: tokens))
    return try await finish(probe, within: limit)
  }

  /// A chat whose first token has come.
  static func begun(tokens: Int, path: String = "/api/chat", within limit: Duration = .seconds(30)) async throws
    -> HTTPProbe
  {
    let probe = try await HTTPProbe.connect(port: InstalledPool.port)
    try await probe.send("POST", path, headers: [("Content-Type", "application/json")], body: body(tokens: tokens))
    _ = try await probe.head(within: limit)
    _ = try await probe.piece(within: limit)
    return probe
  }

  static func finish(_ probe: HTTPProbe, within limit: Duration = .seconds(60)) async throws -> Answer {
    let head = try await probe.head(within: limit)
    let answer = try await probe.answer(within: limit)
    await probe.close()
    return Answer(status: head.status, text: answer.text, firstByteAt: head.receivedAt)
  }
}
