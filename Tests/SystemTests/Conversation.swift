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
    let probe = try await ask(tokens: tokens)
    return try await finish(Begun(probe: probe, head: try await probe.head(within: limit), text: ""), within: limit)
  }

  /// A stream of which a part has come.
  struct Begun: Sendable {
    let probe: HTTPProbe
    let head: HTTPProbe.Head
    let text: String

    func close() async { await probe.close() }
  }

  /// A chat whose first token has come.
  static func begun(tokens: Int, within limit: Duration = .seconds(30)) async throws -> Begun {
    let probe = try await ask(tokens: tokens)
    let head = try await probe.head(within: limit)
    return Begun(probe: probe, head: head, text: try await probe.piece(within: limit)?.text ?? "")
  }

  /// Reads the rest.
  static func finish(_ begun: Begun, within limit: Duration = .seconds(60)) async throws -> Answer {
    var text = begun.text
    while let piece = try await begun.probe.piece(within: limit) { text += piece.text }
    await begun.close()
    return Answer(status: begun.head.status, text: text, firstByteAt: begun.head.receivedAt)
  }

  /// A chat of which nothing is awaited yet.
  static func ask(tokens: Int) async throws -> HTTPProbe {
    let probe = try await HTTPProbe.connect(port: InstalledPool.port)
    try await probe.send(
      "POST", "/api/chat", headers: [("Content-Type", "application/json")], body: body(tokens: tokens))
    return probe
  }
}
