import ControlInterface
import Foundation
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Dispatcher
@testable import Varlink

@Suite(.timeLimit(.minutes(1)))
struct MetricsTests {
  /// Name and type of every family.
  private static let families: [String: String] = [
    "ollama_pool_queue_depth": "gauge", "ollama_pool_queue_oldest_wait_seconds": "gauge",
    "ollama_pool_max_concurrent": "gauge", "ollama_pool_in_flight": "gauge", "ollama_pool_instances": "gauge",
    "ollama_pool_desired_instances": "gauge", "ollama_pool_requests_total": "counter",
    "ollama_pool_refusals_total": "counter", "ollama_pool_wait_seconds": "histogram",
    "ollama_pool_wait_estimates_total": "counter", "ollama_pool_wait_estimates_within_bound_total": "counter",
    "ollama_pool_wait_estimated_seconds_total": "counter",
    "ollama_pool_wait_estimated_actual_seconds_total": "counter",
    "ollama_pool_wait_estimate_error_seconds_total": "counter", "ollama_pool_service_seconds": "histogram",
    "ollama_pool_instance_starts_total": "counter",
    "ollama_pool_instance_start_seconds": "histogram", "ollama_pool_instance_discovery_seconds": "histogram",
    "ollama_pool_model_loads_total": "counter", "ollama_pool_model_load_seconds_total": "counter",
    "ollama_pool_put_back_total": "counter", "ollama_pool_history_lost_total": "counter",
    "ollama_pool_model_reloads_total": "counter", "ollama_pool_gpus": "gauge",
    "ollama_pool_gpu_memory_bytes": "gauge", "ollama_pool_gpu_utilisation_ratio": "gauge",
    "ollama_pool_gpu_temperature_celsius": "gauge", "ollama_pool_gpu_faults_total": "counter",
    "ollama_pool_instance_degradations_total": "counter",
    "ollama_pool_open_connections": "gauge", "ollama_pool_build_info": "gauge", "process_start_time_seconds": "gauge",
  ]

  @Test func theyAreWhatPrometheusReadsAndNoOthers() async throws {
    try await withHistory { rig in
      let text = try await rig.console("/metrics").text
      let exposition = try Exposition(text)
      #expect(exposition.families == Self.families)
    }
  }

  @Test func refusalsOfTheGatewayCountByTheirReason() async throws {
    try await DispatcherRig.run { rig in
      let client = try await rig.connect()
      try await client.send("GET", "/nothing")
      #expect(try await client.answer().status == 404)
      try await client.send(raw: "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
      #expect(try await client.answer().status == 413)
      #expect(try await rig.metric("ollama_pool_refusals_total{reason=\"not_found\"}") == 1)
      #expect(try await rig.metric("ollama_pool_refusals_total{reason=\"body_too_large\"}") == 1)
      #expect(try await rig.metric("ollama_pool_requests_total{outcome=\"invalid\"}") == 2)
      await client.close()
    }
  }

  @Test func theFaultOfAStreamedBodyCountsAsThatOfAWholeOne() async throws {
    try await DispatcherRig.run { rig in
      for path in ["/api/chat", "/api/create"] {
        let client = try await rig.connect()
        try await client.send(
          raw: "POST \(path) HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nnonsense\r\n")
        #expect(try await client.answer().status == 400)
        await client.close()
      }
      #expect(try await rig.metric("ollama_pool_refusals_total{reason=\"malformed_request\"}") == 2)
      #expect(try await rig.metric("ollama_pool_requests_total{outcome=\"invalid\"}") == 2)
      for outcome in ["cancelled", "failed", "refused"] {
        #expect(try await rig.metric("ollama_pool_requests_total{outcome=\"\(outcome)\"}") == 0, "\(outcome)")
      }
    }
  }

  @Test func reloadsAreToldApartByModelWithinBounds() {
    var metrics = DispatcherMetrics()
    for number in 0..<120 { metrics.modelReloaded("m\(number)") }
    metrics.modelReloaded("m5")
    metrics.modelReloaded("m110")
    #expect(metrics.reloads.count == DispatcherMetrics.mostModels + 1)
    #expect(metrics.reloads["m5"] == 2 && metrics.reloads["other"] == 21)
  }

  @Test func theyTellWhatHappened() async throws {
    try await withHistory { rig in
      for (name, value) in [
        ("ollama_pool_queue_depth", 1.0), ("ollama_pool_max_concurrent", 1), ("ollama_pool_in_flight", 1),
        ("ollama_pool_instances{state=\"healthy\"}", 1), ("ollama_pool_instances{state=\"draining\"}", 0),
        ("ollama_pool_instances{state=\"degraded\"}", 1), ("ollama_pool_instance_degradations_total", 3),
        ("ollama_pool_gpus{state=\"ours\"}", 1), ("ollama_pool_gpus{state=\"quarantined\"}", 1),
        ("ollama_pool_gpus{state=\"busy\"}", 0), ("ollama_pool_gpu_memory_bytes{gpu=\"gpu0\",owner=\"pool\"}", 60),
        ("ollama_pool_gpu_memory_bytes{gpu=\"gpu0\",owner=\"others\"}", 10),
        ("ollama_pool_gpu_memory_bytes{gpu=\"gpu0\",owner=\"unlisted\"}", 5),
        ("ollama_pool_gpu_memory_bytes{gpu=\"gpu0\",owner=\"free\"}", 25),
        ("ollama_pool_gpu_utilisation_ratio{gpu=\"gpu0\"}", 0.25),
        ("ollama_pool_gpu_temperature_celsius{gpu=\"gpu0\"}", 61),
        ("ollama_pool_gpu_faults_total{gpu=\"gpu1.7\",kind=\"xid_79\"}", 2),
        ("ollama_pool_instances{state=\"starting\"}", 0), ("ollama_pool_desired_instances", 4),
        ("ollama_pool_instances{state=\"backing_off\"}", 0), ("ollama_pool_instances{state=\"quarantined\"}", 2),
        ("ollama_pool_instances{state=\"cordoned\"}", 1),
        ("ollama_pool_requests_total{outcome=\"served\"}", 1), ("ollama_pool_requests_total{outcome=\"refused\"}", 1),
        ("ollama_pool_requests_total{outcome=\"failed\"}", 0),
        ("ollama_pool_refusals_total{reason=\"queue_full\"}", 1),
        ("ollama_pool_refusals_total{reason=\"shutting_down\"}", 0), ("ollama_pool_wait_seconds_count", 2),
        ("ollama_pool_service_seconds_count", 1), ("ollama_pool_instance_starts_total{result=\"ready\"}", 2),
        ("ollama_pool_instance_start_seconds_count", 2), ("ollama_pool_put_back_total", 1),
        ("ollama_pool_open_connections", 2), ("ollama_pool_build_info{version=\"1.2.3\"}", 1),
      ] {
        #expect(try await rig.metric(name) == value, "\(name)")
      }
      #expect(try await rig.metric("ollama_pool_queue_oldest_wait_seconds") > 0)
      let started = try await rig.metric("process_start_time_seconds")
      #expect(abs(started - Date().timeIntervalSince1970) < 60)
    }
  }

  @Test func whatWasForeseenIsHeldAgainstTheWait() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let first = try await rig.generate()
      try await gpu0.ask(0).serve()
      #expect(try await first.answer().status == 200)
      let running = try await rig.generate()
      _ = try await gpu0.ask(1)
      let waiting = try await rig.generate()
      try await rig.waitForDepth(1)
      func sum(_ name: String) async throws -> Double {
        try await rig.metric("ollama_pool_wait_\(name)_total{priority=\"1\"}")
      }
      #expect(try await !rig.console("/metrics").text.contains("ollama_pool_wait_estimates_total{"))
      try await gpu0.ask(1).serve()
      #expect(try await running.answer().status == 200)
      try await gpu0.ask(2).serve()
      #expect(try await waiting.answer().status == 200)
      let actual = try await sum("estimated_actual_seconds")
      let (count, within, foreseen) = (
        try await sum("estimates"), try await sum("estimates_within_bound"), try await sum("estimated_seconds")
      )
      #expect(count == 1 && (0...1).contains(within) && foreseen > 0 && actual > 0)
      let off = try await sum("estimate_error_seconds")
      #expect(abs(off - abs(foreseen - actual)) < 1e-3)
    }
  }

  @Test(.enabled(if: Promtool.isHere, Promtool.remedy))
  func promtoolFindsNoFault() async throws {
    try await withHistory { rig in
      let text = try await rig.console("/metrics").text
      let verdict = try await Promtool.ask("check", "metrics", input: text)
      #expect(verdict.isFine && verdict.text.isEmpty, "\(verdict.text)")
    }
  }

  @Test func thePoolIsReadyWhenAnInstanceIs() async throws {
    try await DispatcherRig.run { rig in
      let early = try await rig.console("/readyz")
      #expect(early.status == 503)
      #expect(early.text == "not ready: no instance is registered\n")
      #expect(try await rig.console("/healthz").status == 200)
      let gpu0 = try await FakeOllama.start()
      gpu0.behave { $0.versionStatus = nil }
      try await rig.setInstances([DispatcherRig.wanted(gpu0)])
      #expect(try await rig.console("/readyz").text.contains("none of 1 registered instances"))
      let gpu1 = try await FakeOllama.start("gpu1")
      try await rig.setInstances([DispatcherRig.wanted(gpu0), DispatcherRig.wanted(gpu1)])
      try await rig.waitForCapacity(1)
      #expect(try await rig.console("/readyz").status == 200)
    }
  }

  @Test func whatOnlyTheSupervisorKnowsIsThereAsLongAsItIs() async throws {
    try await DispatcherRig.run { rig in
      let client = try await rig.client()
      try await client.order(
        .reportFleet, DispatcherCalls.ReportFleet(desired: 3, backingOff: 1, quarantined: 0, cordoned: 0))
      #expect(try await rig.metric("ollama_pool_desired_instances") == 3)
      #expect(try await !rig.console("/metrics").text.contains(Self.failed), "an older supervisor does not count them")
      #expect(try await rig.metric("ollama_pool_instances{state=\"backing_off\"}") == 1)
      await client.close()
      try await eventually("there is no sample without it") {
        let text = try await rig.console("/metrics").text
        return !text.contains("desired_instances") && !text.contains("quarantined")
      }
    }
  }

  private static let failed = "ollama_pool_instance_starts_total{result=\"failed\"}"

  @Test func failedStartsAreWhatTheSupervisorCountsAndGoOnWhereItLeftOff() async throws {
    try await DispatcherRig.run { rig in
      #expect(try await !rig.console("/metrics").text.contains(Self.failed), "no data is not zero")
      for (supervisor, counts) in [("the first", [7, 9]), ("one that has just begun", [0, 1])] {
        let client = try await rig.client()
        for count in counts {
          try await client.order(
            .reportFleet,
            DispatcherCalls.ReportFleet(desired: 1, backingOff: 0, quarantined: 0, cordoned: 0, failedStarts: count))
          #expect(try await rig.metric(Self.failed) == Double(count), "\(supervisor)")
        }
        await client.close()
        try await eventually("it is gone") { try await !rig.console("/metrics").text.contains("desired_instances") }
        #expect(try await rig.metric(Self.failed) == counts.last.map(Double.init), "\(supervisor)")
      }
    }
  }

  @Test func theyAreOnlyServedWhereTheyAreWanted() async throws {
    try await DispatcherRig.run(options: { $0.servesMetrics = false }) { rig in
      #expect(rig.daemon.metricsEndpoint == nil)
    }
  }

  /// One of which all is known, and a slice of which nothing is but that it failed.
  private static let gpus: [DispatcherTypes.GPU] = {
    var gpu0 = DispatcherTypes.GPU(name: "gpu0", state: .ours)
    (gpu0.memoryTotalBytes, gpu0.memoryUsedBytes, gpu0.memoryOursBytes, gpu0.memoryOthersBytes) = (100, 75, 60, 10)
    (gpu0.utilisationPercent, gpu0.temperatureCelsius) = (25, 61)
    return [
      gpu0, DispatcherTypes.GPU(name: "gpu1.7", state: .quarantined, faults: [.init(kind: "xid_79", count: 2)]),
    ]
  }()

  @Test func whatIsNotKnownOfAGPUHasNoSample() async throws {
    try await DispatcherRig.run { rig in
      #expect(try await !rig.console("/metrics").text.contains("ollama_pool_gpu"), "no supervisor has told of any")
      let client = try await rig.client()
      var gpu2 = DispatcherTypes.GPU(name: "gpu2", state: .busy)
      (gpu2.memoryTotalBytes, gpu2.memoryUsedBytes) = (100, 90)
      try await client.order(
        .reportFleet,
        DispatcherCalls.ReportFleet(
          desired: 0, backingOff: 0, quarantined: 0, cordoned: 0, gpus: [Self.gpus[1], gpu2]))
      let text = try await rig.console("/metrics").text
      #expect(try await rig.metric("ollama_pool_gpu_memory_bytes{gpu=\"gpu2\",owner=\"free\"}") == 10)
      #expect(text.matches(of: /\nollama_pool_gpu_memory_bytes\{/).count == 1)
      #expect(!text.contains("utilisation_ratio{") && !text.contains("celsius{") && !text.contains("degrad"))
      await client.close()
      try await eventually("the gauges are gone, and the counters stay") {
        let text = try await rig.console("/metrics").text
        return !text.contains("ollama_pool_gpus") && !text.contains("memory_bytes") && text.contains("kind=\"xid_79\"")
      }
    }
  }

  @Test func whatASupervisorThatHangsHasSaidIsOutOfDateAfterAWhile() {
    let report = DispatcherCalls.ReportFleet(desired: 3, backingOff: 1, quarantined: 0, cordoned: 0)
    let said = Instant.zero + .seconds(100)
    var control = ControlState()
    control.fleet = (report, said, .next())
    #expect(control.fleetReport(at: said + .seconds(29)) == report)
    #expect(control.fleetReport(at: said + .seconds(30)) == nil)
  }

  /// One served, one put back and running, one waiting, one refused; one instance healthy, one draining.
  private func withHistory(_ body: (DispatcherRig) async throws -> Void) async throws {
    try await DispatcherRig.run {
      $0.queue.requests = 1
    } _: { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      try await rig.use(gpu0, gpu1)
      try await rig.supervisor.order(
        .reportFleet,
        DispatcherCalls.ReportFleet(
          desired: 4, backingOff: 0, quarantined: 2, cordoned: 1, degraded: 1, degradations: 3, gpus: Self.gpus))
      let served = try await rig.generate()
      // Its connection is not used again: one that breaks soon after it is, is nobody's failure.
      try await gpu0.ask(0).serve(isLast: true)
      #expect(try await served.answer().status == 200)
      await served.close()
      let running = try await rig.generate()
      await (try await gpu0.ask(1)).breakOff()
      _ = try await gpu1.ask(0)
      try await rig.setInstances([DispatcherRig.wanted(gpu0, role: .draining), DispatcherRig.wanted(gpu1)])
      let waiting = try await rig.generate()
      try await rig.waitForDepth(1)
      let refused = try await rig.generate()
      #expect(try await refused.answer().status == 503)
      await refused.close()
      try await eventually("what is over is counted") {
        try await rig.metric("ollama_pool_open_connections") == 2
      }
      try await body(rig)
      await running.close()
      await waiting.close()
    }
  }
}

/// Reads Prometheus' text format strictly: HELP and TYPE before the samples of each family, families not mixed, no
/// sample twice, histograms that add up.
private struct Exposition {
  var families: [String: String] = [:]

  struct Fault: Error, CustomStringConvertible { let description: String }

  init(_ text: String) throws {
    guard text.hasSuffix("\n") else { throw Fault(description: "the last line has no end") }
    var family: (name: String, help: Bool, type: String?)?
    var samples: Set<String> = []
    var buckets: [Double] = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
      if let help = line.wholeMatch(of: #/# HELP ([a-z_]+) (.+)/#) {
        guard families[String(help.1)] == nil else { throw Fault(description: "\(help.1) comes twice") }
        family = (String(help.1), true, nil)
        buckets = []
      } else if let type = line.wholeMatch(of: #/# TYPE ([a-z_]+) (counter|gauge|histogram)/#) {
        guard let current = family, current.name == type.1, current.type == nil else {
          throw Fault(description: "no HELP before: \(line)")
        }
        family?.type = String(type.2)
        families[current.name] = String(type.2)
      } else if let sample = line.wholeMatch(
        of: #/([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)*\})? (-?[0-9.e+-]+|\+Inf|NaN)/#)
      {
        guard let current = family, let type = current.type else { throw Fault(description: "no TYPE before: \(line)") }
        let suffixes = type == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
        guard suffixes.contains(where: { current.name + $0 == sample.1 }) else {
          throw Fault(description: "\(line) is none of \(current.name)")
        }
        guard samples.insert("\(sample.1)\(sample.2 ?? "")").inserted else {
          throw Fault(description: "twice: \(line)")
        }
        guard let value = Double(sample.3.replacing("+Inf", with: "inf")) else {
          throw Fault(description: "no number: \(line)")
        }
        if type == "counter", !current.name.hasSuffix("_total") {
          throw Fault(description: "no counter's name: \(line)")
        }
        if sample.1.hasSuffix("_bucket") {
          guard value >= buckets.last ?? 0 else { throw Fault(description: "buckets shrink: \(line)") }
          buckets.append(value)
        }
        if type == "histogram", sample.1.hasSuffix("_count"), buckets.last != value {
          throw Fault(description: "the last bucket is not the count: \(line)")
        }
      } else {
        throw Fault(description: "not of the format: \(line)")
      }
    }
  }
}
