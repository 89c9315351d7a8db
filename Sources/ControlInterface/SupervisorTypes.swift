/// The types of `ollamapool.Supervisor`, field by field as in its description.
package enum SupervisorTypes {
  package enum State: String, Codable, Sendable, CaseIterable {
    case absent, launching, starting, ready, unhealthy, draining, stopping, backingOff, quarantined, cordoned
  }

  package enum Inventory: String, Codable, Sendable, CaseIterable { case nvml, configured, cpu }

  package struct Instance: Codable, Equatable, Sendable {
    package var id: String
    package var state: State
    package var reason = ""
    package var gpus: [String] = []
    package var slots = 1
    package var unit: String?
    package var invocation: String?
    package var mainPID: Int32?
    package var address: String?
    package var leases = 0
    package var runningSeconds: Double?
    package var failures = 0
    package var retryInSeconds: Double?

    package init(id: String, state: State) {
      self.id = id
      self.state = state
    }
  }

  package struct GPU: Codable, Equatable, Sendable {
    package var uuid: String
    package var number: Int
    package var name: String?
    package var vendor: String
    package var memoryTotalBytes: Int?
    package var memoryUsedBytes: Int?
    package var utilisationPercent: Int?
    package var temperatureCelsius: Int?
    package var instances: [String] = []
    package var cordon: String?
    package var problem: String?

    package init(uuid: String, number: Int, vendor: String) {
      self.uuid = uuid
      self.number = number
      self.vendor = vendor
    }
  }

  package struct Status: Codable, Equatable, Sendable {
    package var version = ""
    package var processID: Int32 = 0
    package var startedSecondsAgo = 0.0
    package var launcher = ""
    package var ollama = ""
    package var inventory = Inventory.cpu
    package var problems: [String] = []
    package var dispatcherConnected = false
    package var desired = 0
    package var desiredReason = ""
    package var minimum = 0
    package var maximum = 0
    package var overrideSecondsLeft: Double?
    package var isOverridden = false
    package var coldStartSeconds = 0.0
    package var instances: [Instance] = []
    package var gpus: [GPU] = []

    package init() {}
  }

  package struct Decision: Codable, Equatable, Sendable {
    package var secondsAgo: Double
    package var what: String
    package var why: String

    package init(secondsAgo: Double, what: String, why: String) {
      self.secondsAgo = secondsAgo
      self.what = what
      self.why = why
    }
  }
}

/// Parameters and replies of the methods of `ollamapool.Supervisor`.
package enum SupervisorCalls {
  package struct StatusReply: Codable, Equatable, Sendable {
    package var status: SupervisorTypes.Status
    package init(status: SupervisorTypes.Status) { self.status = status }
  }

  package struct ExplainReply: Codable, Equatable, Sendable {
    package var decisions: [SupervisorTypes.Decision]
    package init(decisions: [SupervisorTypes.Decision]) { self.decisions = decisions }
  }

  package struct SetScale: Codable, Equatable, Sendable {
    package var min: Int?
    package var max: Int?
    package var fixed: Int?
    package var forSeconds: Double?
    package init(min: Int? = nil, max: Int? = nil, fixed: Int? = nil, forSeconds: Double? = nil) {
      self.min = min
      self.max = max
      self.fixed = fixed
      self.forSeconds = forSeconds
    }
  }

  package struct CordonGPU: Codable, Equatable, Sendable {
    /// Bytes of a reason, which is one line.
    package static let longestReason = 256

    package var gpu: String
    package var reason: String
    package init(gpu: String, reason: String) {
      self.gpu = gpu
      self.reason = reason
    }
  }

  package struct UncordonGPU: Codable, Equatable, Sendable {
    package var gpu: String
    package init(gpu: String) { self.gpu = gpu }
  }

  /// Of DrainInstance and RestartInstance.
  package struct InstanceOrder: Codable, Equatable, Sendable {
    /// Seconds: 30 days.
    package static let longestTimeout = 30.0 * 24 * 3600

    package var id: String
    package var timeoutSeconds: Double?
    package init(id: String, timeoutSeconds: Double? = nil) {
      self.id = id
      self.timeoutSeconds = timeoutSeconds
    }
  }
}
