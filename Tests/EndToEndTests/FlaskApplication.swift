import Foundation
import TestSupport

/// One process of an application in `docs/flask`, on a port of its own.
final class FlaskApplication: Sendable {
  static let folder = PackageRoot.path(to: "docs/flask")

  let port: Int
  let program: RunningProgram

  private init(port: Int, _ arguments: [String], _ environment: [String: String?]) async throws {
    self.port = port
    program = try RunningProgram(
      PythonEnvironment.interpreter, arguments,
      environment: environment.merging(["PYTHONDONTWRITEBYTECODE": "1"]) { $1 }, workingDirectory: Self.folder)
    try await program.line(containing: "Serving on", within: .seconds(30))
  }

  /// The one that keeps a queue of its own before the pool.
  static func withQueue(before pool: Pool) async throws -> FlaskApplication {
    let port = try freePort()
    return try await FlaskApplication(
      port: port, ["app.py"], ["OLLAMA_POOL_SOCKET": pool.sockets, "LISTEN": "127.0.0.1:\(port)", "FRONT_END": nil])
  }

  /// One of those that share the pool's queue.
  static func withoutQueue(before pool: Pool) async throws -> FlaskApplication {
    let port = try freePort()
    return try await FlaskApplication(
      port: port, ["without_queue.py", String(port)], ["OLLAMA_POOL_URL": "http://127.0.0.1:\(pool.port)"])
  }

  func post(_ body: String, headers: [(String, String)] = []) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange(
      "POST", "/chat/stream", port: port, headers: headers, body: body, within: .seconds(60))
  }

  /// What the pool is said to take at once, each time that it was told.
  var capacities: [Int] {
    program.errorOutput.matches(of: /takes (\d+) requests at once/).compactMap { Int($0.1) }
  }
}

/// A question that curl asks, as it stands.
struct CurlQuestion {
  let curl: RunningProgram

  init(_ message: String = "hello", port: Int) throws {
    curl = try RunningProgram(
      "curl",
      [
        "-sN", "-X", "POST", "http://localhost:\(port)/chat/stream", "-H", "Content-Type: application/json", "-d",
        #"{"message": "\#(message)"}"#,
      ])
  }

  var events: [ChatEvent] { ChatEvent.all(in: curl.output) }
  var positions: [Int] { events.compactMap(\.position) }
  var hasBegun: Bool { events.contains { $0.type == "token" } }
  var isDone: Bool { events.last?.type == "done" }

  /// Goes away without a word.
  func leave() { curl.killTree() }
}

/// An event of `/chat/stream`.
struct ChatEvent: Decodable {
  let type: String
  let position: Int?
  let message: String?
  let etaSeconds: Int?
  let token: String?
  let timestamp: String?
  let requestID: String?
  let error: String?
  let code: String?

  private enum CodingKeys: String, CodingKey {
    case type, position, message, token, timestamp, error, code
    case etaSeconds = "eta_seconds"
    case requestID = "request_id"
  }

  /// Those that have come as a whole.
  static func all(in text: String) -> [ChatEvent] {
    text.split(separator: "\n").filter { $0.hasPrefix("data: ") }.compactMap {
      try? JSONDecoder().decode(ChatEvent.self, from: Data($0.dropFirst("data: ".count).utf8))
    }
  }
}
