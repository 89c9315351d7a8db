import Foundation
import Glibc
import TestSupport
import Testing

/// The application in `docs/flask` that has a queue of its own, before a real pool.
@Suite(
  .serialized,
  .enabled("needs the Python packages of docs/flask: see PythonEnvironment") {
    await PythonEnvironment.isReady(for: "flask")
  })
struct FlaskTests {
  @Test("Its own tests pass")
  func ownTests() async throws {
    let result = try await run(
      PythonEnvironment.interpreter, ["-m", "unittest", "-v"], environment: ["PYTHONDONTWRITEBYTECODE": "1"],
      workingDirectory: FlaskApplication.folder)
    #expect(result.end == .exited(0), "\(result.errorOutput)")
    #expect(result.errorOutput.contains("test_first_come_first_served"), "\(result.errorOutput)")
  }

  @Test("Three at the same time before one slot: one starts, the others are told 2 and 3, and move up")
  func threeAtOnce() async throws {
    try await withPool(Self.slow) { pool in
      let application = try await FlaskApplication.withQueue(before: pool)
      var questions = try (1...3).map { _ in try CurlQuestion(port: application.port) }
      try await eventually("each was taken") { questions.allSatisfy { !$0.events.isEmpty } }
      questions.sort { ($0.positions.first ?? 1) < ($1.positions.first ?? 1) }
      #expect(questions.map(\.positions) == [[], [2], [3]])
      #expect(questions[1].events.first?.message == "In coda: posizione 2")
      #expect(questions[2].events.first.flatMap(\.etaSeconds) ?? 0 > 0)
      try await eventually("the first is done") { questions[0].isDone }
      try await eventually("the third hears position 2") { questions[2].positions == [3, 2] }
      #expect(questions[1].positions == [2, 1] && !questions[1].isDone)
      try await eventually("all are done") { questions.allSatisfy(\.isDone) }
      #expect(questions.map(\.positions) == [[], [2, 1], [3, 2, 1]])
      for question in questions {
        #expect(question.events.count { $0.type == "token" } == 40)
        #expect(question.events.last?.timestamp != nil && question.events.last?.requestID?.isEmpty == false)
      }
    }
  }

  @Test("Ten users with three questions each: every one is answered, in a session of the user's own")
  func tenUsers() async throws {
    try await withPool { pool in
      let application = try await FlaskApplication.withQueue(before: pool)
      let users = try await withThrowingTaskGroup(of: [HTTPProbe.Answer].self) { group in
        for user in 1...10 {
          group.addTask {
            var cookie: [(String, String)] = []
            return try await [1, 2, 3].asyncMap { number in
              let answer = try await application.post(
                #"{"message": "question \#(number) of user \#(user)"}"#, headers: cookie)
              if let given = answer.head["Set-Cookie"] { cookie = [("Cookie", String(given.prefix { $0 != ";" }))] }
              return answer
            }
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      for answer in users.joined() {
        #expect(answer.status == 200 && answer.head["Content-Type"]?.hasPrefix("text/event-stream") == true)
        #expect(answer.head["Cache-Control"] == "no-store" && answer.head["X-Accel-Buffering"] == "no")
        let events = ChatEvent.all(in: answer.text)
        #expect(events.last?.type == "done" && events.count { $0.type == "token" } == 8, "\(answer.text)")
        let positions = events.compactMap(\.position)
        #expect(positions == positions.sorted(by: >) && positions.allSatisfy { 1...10 ~= $0 }, "\(positions)")
      }
      let cookies = users.map { user in user.compactMap { $0.head["Set-Cookie"] } }
      #expect(cookies.allSatisfy { $0.count == 1 && $0[0].contains("HttpOnly") && $0[0].contains("SameSite=Lax") })
      #expect(Set(cookies.joined()).count == 10)
      try await pool.expectIdle()
    }
  }

  @Test("Its depth makes the pool grow, without what was handed over; it uses the second slot, and hears of its end")
  func capacity() async throws {
    var setup = Pool.Setup(gpus: 2)
    setup.simulator = ["TOKENS": "100000"]
    setup.settings = """
      scaling:
        window: 1s
        shrink: 100%
        idle_hold: 300ms
      """
    try await withPool(setup) { pool in
      let application = try await FlaskApplication.withQueue(before: pool)
      try await eventually("the capacity of one is told") { application.capacities == [1] }
      #expect(try await pool.command("scale", "--fixed", "1").end == .exited(0))
      let questions = try (1...4).map { _ in try CurlQuestion(port: application.port) }
      try await eventually("the pool is told of those that wait, and not of the one that it works on") {
        try await pool.status.frontEnds == reported(3)
      }
      #expect(try await pool.command("status").output.contains("3 more in front ends (flask 3)"))
      #expect(try await pool.command("scale", "reset").end == .exited(0))
      try await eventually(within: .seconds(20), "the capacity of two is told") { application.capacities == [1, 2] }
      try await pool.status(until: "two are being answered, two wait") {
        $0.inFlight == 2 && $0.queueDepth == 0 && $0.frontEnds == reported(2)
      }
      for question in questions { question.leave() }
      try await pool.expectIdle()
      try await pool.status(until: "none waits") { $0.frontEnds == reported(0) }
      try await eventually(within: .seconds(20), "the capacity of one is told") { application.capacities == [1, 2, 1] }
    }
  }

  @Test("The pool is killed and comes back: who waits keeps the place, is told of it, and is served")
  func restart() async throws {
    let pool = try Pool(Self.slow)
    defer { pool.kill() }
    try await pool.isReady()
    let application = try await FlaskApplication.withQueue(before: pool)
    let first = try CurlQuestion(port: application.port)
    try await eventually("the first is being answered") { first.hasBegun }
    let second = try CurlQuestion(port: application.port)
    try await eventually("the second waits") { second.positions == [2] }
    let third = try CurlQuestion(port: application.port)
    try await eventually("the third waits") { third.positions == [3] }

    pool.program.signal(SIGKILL)
    try await eventually("the answer that had begun ends with an error") { first.events.last?.type == "error" }
    #expect(first.events.last?.code == "answer_failed")
    try await eventually("who waits hears of it") {
      [second, third].allSatisfy { $0.events.last?.message?.contains("non risponde") == true }
    }
    #expect(second.events.last?.position == 1 && third.events.last?.position == 2)
    let fourth = try CurlQuestion(port: application.port)
    try await eventually("who comes now is taken too") { fourth.positions == [3] }

    let restarted = try pool.startAgain()
    try await eventually(within: .seconds(30), "all are served") { [second, third, fourth].allSatisfy(\.isDone) }
    let ends = [second, third, fourth].compactMap { $0.events.last?.timestamp }
    #expect(ends == ends.sorted() && ends.count == 3)
    restarted.signal(SIGINT)
    #expect(try await restarted.wait() == .exited(0))
  }

  @Test("Who leaves while waiting gives the place up; who leaves in mid-answer frees the slot")
  func leaving() async throws {
    var setup = Pool.Setup()
    setup.simulator = ["TOKENS": "100000"]
    try await withPool(setup) { pool in
      let application = try await FlaskApplication.withQueue(before: pool)
      let first = try CurlQuestion(port: application.port)
      try await eventually("the first is being answered") { first.hasBegun }
      let second = try CurlQuestion(port: application.port)
      try await eventually("the second waits") { second.positions == [2] }
      let third = try CurlQuestion(port: application.port)
      try await eventually("the third waits") { third.positions == [3] }
      second.leave()
      try await eventually("the third moves up") { third.positions == [3, 2] }
      first.leave()
      try await eventually("the third is being answered") { third.hasBegun }
      #expect(third.positions == [3, 2, 1])
      #expect(try await pool.status.inFlight == 1)
      third.leave()
      try await pool.expectIdle()
    }
  }

  @Test("What is no question is refused as JSON, and nothing waits after it")
  func badInput() async throws {
    try await withPool { pool in
      let application = try await FlaskApplication.withQueue(before: pool)
      let wrong = [
        "", "no JSON", "[]", "7", "{}", #"{"message": ""}"#, #"{"message": "  \n"}"#, #"{"message": 7}"#,
        #"{"message": null}"#, #"{"message": "a", "model": ""}"#, #"{"message": "a", "model": ["b"]}"#,
        #"{"message": "\ud800"}"#, String(repeating: "[", count: 100_000),
      ]
      for body in wrong {
        let answer = try await application.post(body)
        #expect(answer.status == 400 && answer.object["code"] as? String == "bad_request", "\(body.prefix(80))")
        #expect((answer.object["error"] as? String)?.isEmpty == false)
      }
      for length in [16_001, 1_000_000] {
        let answer = try await application.post(#"{"message": "\#(String(repeating: "x", count: length))"}"#)
        #expect(answer.status == 413 && answer.object["error"] is String, "\(length)")
      }
      let unknown = try await application.post(#"{"message": "hello", "model": "nope"}"#)
      let event = ChatEvent.all(in: unknown.text).last
      #expect(event?.code == "model_not_found" && event?.error?.contains("nope") == true, "\(unknown.text)")
      let get = try await HTTPProbe.exchange("GET", "/chat/stream", port: application.port)
      #expect(get.status == 405 && get.object["error"] is String)
      let longest = try await application.post(#"{"message": "\#(String(repeating: "é", count: 16_000))"}"#)
      #expect(ChatEvent.all(in: longest.text).last?.type == "done")
      try await pool.status(until: "none waits") { $0.frontEnds == reported(0) }
    }
  }

  // MARK: Helpers

  /// Two seconds for an answer, so that what comes meanwhile can be seen.
  private static let slow = Pool.Setup(simulator: ["TOKENS": "40", "TOKENS_PER_SECOND": "20"])

  /// What the pool is told of the application.
  private func reported(_ depth: Int) -> [PoolStatus.FrontEnd] { [.init(name: "flask", depth: depth)] }
}
