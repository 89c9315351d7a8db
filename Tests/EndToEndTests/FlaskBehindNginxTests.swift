import Foundation
import Glibc
import TestSupport
import Testing

/// Several processes of `docs/flask/without_queue.py` behind a real nginx: the pool's queue is the only one.
@Suite(
  .serialized, .enabled(if: Tool.isHere("nginx"), Tool.remedy("nginx")),
  .enabled("needs the Python packages of docs/flask: see PythonEnvironment") {
    await PythonEnvironment.isReady(for: "flask")
  })
struct FlaskBehindNginxTests {
  @Test("They get the questions in turn, and the order of arrival holds across them")
  func order() async throws {
    try await withNginx { pool, nginx, _ in
      let occupant = try await pool.openStream(tokens: 100_000)
      _ = try await occupant.head()
      let questions = try await (1...9).asyncMap { number in
        let question = try CurlQuestion(port: nginx.port)
        try await pool.status(until: "\(number) wait") { $0.queueDepth == number }
        return question
      }
      #expect(Set(try await pool.requests.dropFirst().map(\.position)) == Set(2...10))
      await occupant.close()
      try await eventually("all are answered") { questions.allSatisfy(\.isDone) }
      for (index, question) in questions.enumerated() {
        #expect(question.positions.first == index + 2 && question.positions.last == 1, "\(question.positions)")
        #expect(question.events.count { $0.type == "token" } == 8)
      }
      try await eventually("nginx has written of all of them") { nginx.served.count == 9 }
      let turns = nginx.served
      #expect(Set(turns.prefix(3)).count == 3)
      #expect(zip(turns, turns.dropFirst(3)).allSatisfy(==), "\(turns)")
    }
  }

  @Test("Who leaves gives place or slot up at once, through nginx too; a token passes before the next one is there")
  func leaving() async throws {
    var setup = Pool.Setup()
    setup.simulator = ["TOKENS": "100000"]
    try await withNginx(setup) { pool, nginx, _ in
      let first = try CurlQuestion(port: nginx.port)
      try await eventually("the first is being answered") { first.hasBegun }
      let others = try (1...3).map { _ in try CurlQuestion(port: nginx.port) }
      try await pool.status(until: "three wait") { $0.queueDepth == 3 }
      others[0].leave()
      try await pool.status(within: .seconds(5), until: "two wait") { $0.queueDepth == 2 }
      first.leave()
      try await pool.status(within: .seconds(5), until: "one waits") { $0.queueDepth == 1 && $0.inFlight == 1 }
      for question in others { question.leave() }
      try await pool.expectIdle()
    }
  }

  @Test("A process that dies is passed over; bad input and the pool's end are told")
  func failures() async throws {
    try await withNginx { pool, nginx, applications in
      applications[1].program.signal(SIGKILL)
      try await applications[1].program.wait()
      for _ in 1...6 {
        #expect(ChatEvent.all(in: try await nginx.post(#"{"message": "hello"}"#).text).last?.type == "done")
      }
      #expect(Set(nginx.served).count >= 2)
      let bad = try await nginx.post("no JSON")
      #expect(bad.status == 400 && bad.object["code"] as? String == "malformed_request")
      let huge = try await nginx.post(#"{"message": "\#(String(repeating: "x", count: 300_000))"}"#)
      #expect(huge.status == 413 && huge.object["error"] is String)
      let unknown = try await nginx.post(#"{"message": "hello", "model": "nope"}"#)
      #expect(unknown.status == 404 && unknown.object["code"] as? String == "model_not_found")
      try await pool.stop()
      let gone = try await nginx.post(#"{"message": "hello"}"#)
      #expect(gone.status == 503 && gone.head["Retry-After"] != nil, "\(gone.text)")
      #expect(gone.object["code"] as? String == "service_unavailable")
    }
  }

  /// Runs `body` with a pool, three processes before it, and nginx before these.
  private func withNginx(
    _ setup: Pool.Setup = Pool.Setup(), _ body: (Pool, Nginx, [FlaskApplication]) async throws -> Void
  ) async throws {
    var setup = setup
    setup.settings = "chat:\n  default_model: llama3.2"
    let pool = try Pool(setup)
    defer { pool.kill() }
    try await pool.isReady()
    let applications = try await (1...3).asyncMap { _ in try await FlaskApplication.withoutQueue(before: pool) }
    let nginx = try await Nginx.ofFlask(before: applications)
    try await body(pool, nginx, applications)
    if pool.program.end == nil { try await pool.stop() }
  }
}
