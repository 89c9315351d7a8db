import Foundation
import TestSupport
import Testing

/// The metrics as Prometheus reads them.
@Suite(.serialized) struct MetricsTests {
  @Test("promtool accepts what /metrics says, with and without a load", .enabled(if: Promtool.isHere, Promtool.remedy))
  func format() async throws {
    try await withPool(Pool.Setup(gpus: 2)) { pool in
      func expectAccepted() async throws {
        let metrics = try await pool.metrics
        #expect(metrics.head["Content-Type"]?.hasPrefix("text/plain; version=0.0.4") == true)
        let verdict = try await Promtool.ask("check", "metrics", input: metrics.text)
        #expect(verdict.isFine && verdict.text.isEmpty, "\(verdict.text)")
      }
      try await expectAccepted()
      let probes = try await (0..<4).asyncMap { _ in try await pool.openStream(tokens: 100_000) }
      try await pool.status(until: "requests run and wait") { $0.inFlight > 0 && $0.queueDepth > 0 }
      try await expectAccepted()
      for probe in probes { await probe.close() }
      try await pool.expectIdle()
    }
  }

  @Test("Every metric and every label that an alert asks for exists")
  func alertsNameMetrics() async throws {
    let alerts = try String(contentsOfFile: PackageRoot.path(to: "config/prometheus-alerts.yaml"), encoding: .utf8)
    let expressions = alerts.split(separator: "\n").filter { $0.contains("expr:") }.joined(separator: "\n")
    let selectors = Set(expressions.matches(of: /(ollama_pool_\w+)(\{[^}]*\})?/).map { String($0.output.0) })
    #expect(selectors.count >= 4)
    try await withPool { pool in
      let text = try await pool.metrics.text
      for selector in selectors {
        // A family whose labels nothing has happened to has no sample yet.
        let isThere = text.contains(selector.contains("{") ? "\n\(selector) " : "\n# TYPE \(selector) ")
        #expect(isThere, "\(selector)")
      }
    }
  }

  @Test("Counters and gauges follow what happens")
  func counting() async throws {
    try await withPool { pool in
      #expect(try await pool.metric("ollama_pool_max_concurrent") == 1)
      #expect(try await pool.metric("ollama_pool_instance_starts_total", #"result="ready""#) == 1)
      #expect(try await pool.metric("ollama_pool_requests_total", #"outcome="served""#) == 0)

      for _ in 0..<3 { #expect(try await pool.post("/api/generate", Pool.generation(tokens: 8)).status == 200) }
      let long = try await pool.openStream(tokens: 100_000)
      let waiting = try await pool.openStream(tokens: 8)
      try await pool.status(until: "one is served and one waits") { $0.inFlight == 1 && $0.queueDepth == 1 }
      #expect(try await pool.metric("ollama_pool_in_flight") == 1)
      #expect(try await pool.metric("ollama_pool_queue_depth") == 1)
      #expect(try await pool.metric("ollama_pool_queue_oldest_wait_seconds") > 0)
      await waiting.close()
      await long.close()
      try await pool.expectIdle()

      #expect(try await pool.metric("ollama_pool_requests_total", #"outcome="served""#) == 3)
      #expect(try await pool.metric("ollama_pool_requests_total", #"outcome="cancelled""#) == 2)
      #expect(try await pool.metric("ollama_pool_service_seconds_count") == 3)
      #expect(try await pool.metric("ollama_pool_service_seconds_sum") > 0.1)
      #expect(try await pool.metric("ollama_pool_wait_seconds_count") >= 4)
      #expect(try await pool.metric("ollama_pool_in_flight") == 0)
      #expect(try await pool.metric("ollama_pool_queue_depth") == 0)
    }
  }

  @Test("A placement that fails again and again shows as quarantined, with what is wanted")
  func quarantine() async throws {
    var setup = Pool.Setup()
    setup.faults = "exit-at-start"
    setup.settings = """
      restarts:
        pause: 50ms
        quarantine_after: 2
      """
    let pool = try Pool(setup)
    defer { pool.kill() }
    try await eventually("the placement is in quarantine") {
      try await pool.metric("ollama_pool_instances", #"state="quarantined""#) == 1
    }
    #expect(try await pool.metric("ollama_pool_desired_instances") == 1)
    #expect(try await pool.metric("ollama_pool_max_concurrent") == 0)
    #expect(try await pool.status.instances.map(\.state) == ["quarantined"])
    try await pool.stop()
  }

  @Test("/healthz says that the pool runs, /readyz that it can serve; other paths are not there")
  func health() async throws {
    var setup = Pool.Setup()
    setup.faults = "slow-start 1.5"
    let pool = try Pool(setup)
    defer { pool.kill() }
    try await eventually("the pool answers") { try await pool.metricsPage("/healthz").status == 200 }
    let early = try await pool.metricsPage("/readyz")
    #expect(early.status == 503 && early.text.contains("instance"), "\(early.status) \(early.text)")
    try await pool.isReady()
    #expect(try await pool.metricsPage("/readyz").status == 200)
    #expect(try await pool.metricsPage("/").status == 404)
    // The endpoint for everyone does not show them.
    #expect(try await pool.get("/metrics").status == 404)
    try await pool.stop()
  }
}

extension Pool {
  func metricsPage(_ path: String) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange("GET", path, port: metricsPort)
  }

  var metrics: HTTPProbe.Answer { get async throws { try await metricsPage("/metrics") } }

  /// The value of one sample now.
  func metric(_ name: String, _ labels: String = "") async throws -> Double {
    try metric(name, labels, in: await metrics.text)
  }

  /// The value of one sample in what `/metrics` said.
  func metric(_ name: String, _ labels: String = "", in text: String) throws -> Double {
    let start = labels.isEmpty ? "\(name) " : "\(name){\(labels)} "
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(start) }),
      let value = Double(line.dropFirst(start.count))
    else { throw PoolFailure("no sample \(start)in:\n\(text)", self) }
    return value
  }
}
