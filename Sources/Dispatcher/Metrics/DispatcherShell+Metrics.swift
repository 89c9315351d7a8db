import Console
import ControlInterface
import OrderedCollections
import PoolCore

extension DispatcherShell {
  var readiness: Readiness {
    if core.drainDeadline != nil { return .notReady(because: "the pool is stopping") }
    if core.maxConcurrent > 0 { return .ready }
    if core.instances.isEmpty { return .notReady(because: "no instance is registered") }
    return .notReady(because: "none of \(core.instances.count) registered instances is ready for work")
  }

  func metricsText(version: String, openConnections: Int) -> String {
    var text = MetricsText()
    addNow(to: &text)
    addCounted(to: &text)
    text.add(
      "ollama_pool_open_connections", .gauge, "Open connections of clients.", value: Double(openConnections))
    text.add(
      "ollama_pool_build_info", .gauge, "Always 1; the version is in the label.",
      samples: [([("version", version)], 1)])
    text.add(
      "process_start_time_seconds", .gauge, "When the process began, in seconds since 1970.",
      value: startedAtSecondsSince1970)
    return text.text
  }

  private func addNow(to text: inout MetricsText) {
    text.add("ollama_pool_queue_depth", .gauge, "Requests that wait.", value: Double(core.depth))
    text.add(
      "ollama_pool_queue_oldest_wait_seconds", .gauge, "How long the longest-waiting request has waited.",
      value: core.oldestWait(at: .now)?.seconds ?? 0)
    text.add(
      "ollama_pool_max_concurrent", .gauge, "Slots of the live healthy instances: requests served at once.",
      value: Double(core.maxConcurrent))
    text.add("ollama_pool_in_flight", .gauge, "Requests that hold a slot.", value: Double(core.inFlight))
    let states = Dictionary(grouping: core.instances.values, by: MetricsState.init)
    let fleet = control.fleetReport(at: .now)
    // Without the supervisor there is no sample of what it alone knows: no data is not zero.
    let withoutInstance =
      fleet.map { [("backing_off", $0.backingOff), ("quarantined", $0.quarantined), ("cordoned", $0.cordoned)] } ?? []
    var counted = states.mapValues(\.count)
    // To the dispatcher they drain.
    let degraded = fleet?.degraded.map { min($0, counted[.draining] ?? 0) }
    counted[.draining, default: 0] -= degraded ?? 0
    let counts =
      MetricsState.allCases.map { ($0.rawValue, counted[$0] ?? 0) } + (degraded.map { [("degraded", $0)] } ?? [])
      + withoutInstance
    text.add(
      "ollama_pool_instances", .gauge, "Instances by state, and placements that have none, by why.",
      samples: counts.map { ([("state", $0)], Double($1)) })
    if let fleet {
      text.add(
        "ollama_pool_desired_instances", .gauge, "Instances that the supervisor wants to run.",
        value: Double(fleet.desired))
    }
    if let gpus = fleet?.gpus { text.add(gpus: gpus) }
  }

  private func addCounted(to text: inout MetricsText) {
    text.add(
      "ollama_pool_requests_total", .counter, "Requests that ended, by how.",
      samples: DispatcherMetrics.Outcome.allCases.map {
        ([("outcome", $0.rawValue)], Double(metrics.ended[$0] ?? 0))
      })
    text.add(
      "ollama_pool_refusals_total", .counter, "Requests that were refused, by why.",
      samples: DispatcherMetrics.refusalReasons.map { ([("reason", $0)], Double(metrics.refused[$0] ?? 0)) })
    text.add(
      "ollama_pool_wait_seconds", "How long inference waited for a slot.", histogram: metrics.wait)
    addEstimates(to: &text)
    text.add(
      "ollama_pool_service_seconds", "How long served inference took, from its instance getting it to its end.",
      histogram: metrics.service)
    text.add(
      "ollama_pool_instance_starts_total", .counter,
      "Starts that ended: ready, since the dispatcher began, or failed for whatever reason, since the supervisor began.",
      samples: [([("result", "ready")], Double(metrics.startsReady))]
        + (metrics.startsFailed.map { [([("result", "failed")], Double($0))] } ?? []))
    text.add(
      "ollama_pool_instance_start_seconds", "From an instance's registration to its being ready.",
      histogram: metrics.start)
    text.add(
      "ollama_pool_instance_discovery_seconds",
      "From an instance's registration to its first answer: Ollama finds its GPUs before.", histogram: metrics.discovery
    )
    addLoads(to: &text)
    if let degradations = metrics.degradations {
      text.add(
        "ollama_pool_instance_degradations_total", .counter,
        "Instances that were taken out because they computed on the CPU, since the supervisor began.",
        value: Double(degradations))
    }
    if let faults = metrics.gpuFaults { text.add(gpuFaults: faults) }
    text.add(
      "ollama_pool_model_reloads_total", .counter,
      "Loads of a model that was loaded already, because a request had other options.",
      samples: metrics.reloads.sorted { $0.key < $1.key }.map { ([("model", $0.key)], Double($0.value)) })
    text.add(
      "ollama_pool_put_back_total", .counter, "Requests that went back to the queue after a failed attempt.",
      value: Double(core.totals.putBack))
    text.add(
      "ollama_pool_history_lost_total", .counter,
      "Requests that the history, for replays, lacks: the disk was too slow, or could not be written.",
      value: Double(history.lost))
  }
}

extension DispatcherShell {
  private func addLoads(to text: inout MetricsText) {
    let loads = metrics.loads.sorted { ($0.key.instance, $0.key.model) < ($1.key.instance, $1.key.model) }
    func add(_ name: String, _ help: String, _ value: (DispatcherMetrics.LoadSum) -> Double) {
      text.add(
        name, .counter, help,
        samples: loads.map {
          ([("instance", $0.key.instance.name), ("model", $0.key.model)], value($0.value))
        })
    }
    add("ollama_pool_model_loads_total", "Models under preload that were loaded before an instance was ready.") {
      Double($0.count)
    }
    add("ollama_pool_model_load_seconds_total", "How long these loads took together.") { $0.time.seconds }
  }

  /// Sums, so that whoever asks takes the span: what was off by what was waited is the WAPE of it.
  private func addEstimates(to text: inout MetricsText) {
    func add(_ name: String, _ help: String, _ value: (EstimateErrors) -> Double) {
      text.add(
        "ollama_pool_wait_\(name)_total", .counter, help,
        samples: core.calibrations.errors.sorted { $0.key < $1.key }.map {
          ([("priority", "\($0.key)")], value($0.value))
        })
    }
    add("estimates", "Requests that were told how long they would wait, and have got a slot since.") {
      Double($0.count)
    }
    add("estimates_within_bound", "Of these, those that waited no longer than was foreseen for nine in ten.") {
      Double($0.within)
    }
    add("estimated_seconds", "What they were told when they came.") { $0.foreseen }
    add("estimated_actual_seconds", "What they waited.") { $0.actual }
    add("estimate_error_seconds", "By how much these differed, whichever was longer.") { $0.off }
  }
}

extension WantedInstance.Role {
  /// Whether it is meant to get work.
  fileprivate var isWorking: Bool { self == .core || self == .surplus }
}

/// An instance's state, as a label.
private enum MetricsState: String, CaseIterable {
  case starting, healthy, unhealthy, draining, retired

  init(_ instance: DispatchedInstance) {
    if instance.retiredBy != nil {
      self = .retired
    } else if !instance.wanted.role.isWorking {
      self = .draining
    } else {
      switch instance.health {
      case .starting: self = .starting
      case .healthy: self = .healthy
      case .unhealthy: self = .unhealthy
      }
    }
  }
}
