import Foundation
import TestSupport
import Testing

/// The main job: the pool grows with its load, serves first in first out, and shrinks without cutting a request.
@Suite(.serialized) struct LoadTests {
  @Test("Eight requests at once: 1, 2, 3, 4 run at once, all are served in order, and one instance is left")
  func growsAndShrinks() async throws {
    var setup = Pool.Setup(gpus: 4)
    setup.settings = """
      scaling:
        window: 1s
        shrink: 100%
        idle_hold: 500ms
      """
    // One after the other, so that each step can be seen.
    setup.faults = """
      gpu1: slow-start 1.0
      gpu2: slow-start 1.8
      gpu3: slow-start 2.6
      """
    try await withPool(setup) { pool in
      async let watched = watch(pool, untilEnded: 8)
      var probes: [HTTPProbe] = []
      for number in 1...8 {
        probes.append(try await pool.openStream(tokens: 250))
        // In order, although each has a connection of its own.
        try await eventually("request \(number) has arrived") { try await pool.arrivals >= Double(number) }
      }
      async let answers = finish(probes)
      async let overtaking = requestsThatOvertake(pool)
      let growth = try await watched
      #expect(growth.concurrency == [1, 2, 3, 4])
      #expect(growth.mostInFlight == 4)
      let overtakers = try await overtaking
      #expect(overtakers.isEmpty, "in service although one that came before still waits: \(overtakers)")
      for answer in try await answers {
        #expect(answer.status == 200 && answer.lines == 251 && answer.isComplete)
      }
      try await pool.status(until: "the pool has shrunk to the oldest instance") { status in
        status.maxConcurrent == 1 && status.desired == 1
          && status.instances.filter { $0.state == "ready" }.map(\.id) == ["gpu0"]
      }
      try await eventually("the instances that are gone have left no process") {
        pool.processes.filter(\.isInstance).count == 1
      }
    }
  }

  private struct Growth {
    /// `maxConcurrent`, each value as it changed.
    var concurrency: [Double] = []
    var mostInFlight = 0.0
  }

  /// Follows the pool until so many requests have come and none is left.
  private func watch(_ pool: Pool, untilEnded count: Double) async throws -> Growth {
    var growth = Growth()
    try await eventually(within: .seconds(60), "all requests have been served") {
      let metrics = try await pool.metrics.text
      let concurrency = try pool.metric("ollama_pool_max_concurrent", in: metrics)
      let inFlight = try pool.metric("ollama_pool_in_flight", in: metrics)
      if growth.concurrency.last != concurrency { growth.concurrency.append(concurrency) }
      growth.mostInFlight = max(growth.mostInFlight, inFlight)
      let waiting = try pool.metric("ollama_pool_queue_depth", in: metrics)
      return try inFlight + waiting == 0 && pool.arrivals(in: metrics) >= count
    }
    return growth
  }

  /// Looks at the queue until nothing waits: whoever is served has come before all who wait.
  private func requestsThatOvertake(_ pool: Pool) async throws -> [Int] {
    var found: [Int] = []
    try await eventually(within: .seconds(60), every: .milliseconds(50), "nothing waits any more") {
      let requests = try await pool.requests
      guard let next = requests.filter({ $0.instance == nil }).map(\.id).min() else { return true }
      found += requests.filter { $0.instance != nil && $0.id > next }.map(\.id)
      return false
    }
    return found
  }

  private struct Answer {
    let status: Int
    let lines: Int
    let isComplete: Bool
  }

  private func finish(_ probes: [HTTPProbe]) async throws -> [Answer] {
    try await withThrowingTaskGroup(of: Answer.self) { group in
      for probe in probes {
        group.addTask {
          let status = try await probe.head(within: .seconds(60)).status
          let lines = try await probe.restOfBody(within: .seconds(60)).split(separator: "\n")
          return Answer(
            status: status, lines: lines.count, isComplete: lines.last?.contains(#""done":true"#) == true)
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
  }

  @Test("On one instance the answers begin in the order of the requests")
  func firstInFirstOut() async throws {
    try await withPool { pool in
      var probes: [HTTPProbe] = []
      for number in 1...6 {
        probes.append(try await pool.openStream(tokens: 40))
        try await eventually("request \(number) has arrived") { try await pool.arrivals >= Double(number) }
      }
      var beginnings: [ContinuousClock.Instant] = []
      for probe in probes {
        beginnings.append(try await probe.head(within: .seconds(30)).receivedAt)
        #expect(try await probe.restOfBody().contains(#""done":true"#))
      }
      #expect(beginnings == beginnings.sorted())
      try await pool.expectIdle()
    }
  }

  @Test("A pool that may be empty wakes for the first request, and goes to sleep again")
  func scalesToZero() async throws {
    var setup = Pool.Setup()
    setup.settings = """
      scaling:
        min: 0
        window: 1s
        zero_hold: 0s
        shrink: 100%
        idle_hold: 300ms
      """
    let pool = try Pool(setup)
    defer { pool.kill() }
    try await pool.status(until: "the pool is asleep") { $0.health == "asleep" }
    #expect(try await pool.status.instances.filter { $0.state != "absent" }.isEmpty)
    let answer = try await pool.post("/api/generate", Pool.generation(tokens: 8))
    #expect(answer.status == 200)
    // What goes straight to an instance wakes one, too.
    try await pool.status(until: "the pool is asleep again") { $0.health == "asleep" && $0.maxConcurrent == 0 }
    #expect(try await pool.get("/api/tags").status == 200)
    try await pool.stop()
  }

  @Test("Eight clients that vanish in mid-stream or while they wait free their places at once")
  func vanishingClients() async throws {
    try await withPool(Pool.Setup(gpus: 2)) { pool in
      let probes = try await openStreams(8, of: 100_000, in: pool)
      try await pool.status(until: "two are served, and the others wait") { $0.inFlight == 2 && $0.queueDepth == 6 }
      for probe in probes { await probe.close() }
      try await pool.expectIdle(within: .seconds(3))
      // The instances' own slots are free, too: both serve again at the same time.
      let next = try await openStreams(2, of: 8, in: pool)
      for probe in next { #expect(try await probe.restOfAnswer().contains(#""done":true"#)) }
    }
  }

  private func openStreams(_ count: Int, of tokens: Int, in pool: Pool) async throws -> [HTTPProbe] {
    var probes: [HTTPProbe] = []
    for _ in 0..<count { probes.append(try await pool.openStream(tokens: tokens)) }
    return probes
  }
}

extension Pool {
  /// Inference that has come so far, whatever became of it.
  fileprivate var arrivals: Double { get async throws { try arrivals(in: await metrics.text) } }

  fileprivate func arrivals(in text: String) throws -> Double {
    var count = try metric("ollama_pool_in_flight", in: text) + metric("ollama_pool_queue_depth", in: text)
    for outcome in ["served", "cancelled", "expired", "failed", "refused"] {
      count += try metric("ollama_pool_requests_total", #"outcome="\#(outcome)""#, in: text)
    }
    return count
  }
}

extension HTTPProbe {
  fileprivate func restOfAnswer() async throws -> String {
    _ = try await head(within: .seconds(20))
    return try await restOfBody()
  }
}
