package import PoolCore

/// The types of `ollamapool.Supervisor`, field by field as in its description.
package enum SupervisorTypes {
  package enum State: String, Codable, Sendable, CaseIterable {
    case absent, launching, starting, ready, unhealthy, degraded, draining, stopping, backingOff, quarantined, cordoned
  }

  package enum Inventory: String, Codable, Sendable, CaseIterable { case drivers, configured, cpu }

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
    package var placement: String?

    package init(id: String, state: State) {
      self.id = id
      self.state = state
    }
  }

  package struct GPUProcess: Codable, Equatable, Sendable {
    package var pid: Int32
    package var memoryBytes: Int?
    package var instance: String?
    package var command: String?

    package init(pid: Int32, memoryBytes: Int?, instance: String? = nil, command: String? = nil) {
      self.pid = pid
      self.memoryBytes = memoryBytes
      self.instance = instance
      self.command = command
    }
  }

  package enum GPUState: String, Codable, Sendable, CaseIterable {
    case free, ours, busy, divided, cordoned, failed, quarantined
  }

  package struct GPU: Codable, Equatable, Sendable {
    package var uuid: String
    package var number: Int
    package var label: String?
    package var sliceOf: String?
    package var name: String?
    package var vendor: String
    package var memoryTotalBytes: Int?
    package var memoryUsedBytes: Int?
    package var memoryOursBytes: Int?
    package var memoryOthersBytes: Int?
    package var processes: [GPUProcess]?
    package var utilisationPercent: Int?
    package var temperatureCelsius: Int?
    package var pciAddress: String?
    package var numaNode: Int?
    package var instances: [String] = []
    package var state: GPUState?
    package var reason: String?
    package var retryInSeconds: Double?
    package var cordon: String?
    package var cordonSecondsLeft: Double?
    package var problem: String?

    package init(uuid: String, number: Int, vendor: String) {
      self.uuid = uuid
      self.number = number
      self.vendor = vendor
    }
  }

  package struct ModelStore: Codable, Equatable, Sendable {
    package var path: String
    package var source: String
    package var owner: String
    package var mode: String?
    package var refusal: String?
    package var writer: String?

    package init(path: String, source: String, owner: String, mode: String?, refusal: String?, writer: String?) {
      self.path = path
      self.source = source
      self.owner = owner
      self.mode = mode
      self.refusal = refusal
      self.writer = writer
    }
  }

  package struct StartTimes: Codable, Equatable, Sendable {
    package var instance: String
    package var count: Int
    package var totalSeconds: Double
    package var startSeconds: Double
    package var discoverySeconds: Double?
    package var loads: [ModelLoad]

    /// - Returns: nil where nothing has been measured.
    package init?(_ times: PoolCore.StartTimes, of id: InstanceID) {
      guard times.count > 0 else { return nil }
      func seconds(_ starts: ColdStarts) -> Double { starts.median(assumed: .zero).seconds }
      instance = id.name
      count = times.count
      totalSeconds = seconds(times.total)
      startSeconds = seconds(times.unit)
      discoverySeconds = times.discovery.isEmpty ? nil : seconds(times.discovery)
      loads = times.loads.sorted { $0.key < $1.key }.map { ModelLoad(model: $0.key, seconds: seconds($0.value)) }
    }
  }

  package struct ModelLoad: Codable, Equatable, Sendable {
    package var model: String
    package var seconds: Double
  }

  package struct ReadModel: Codable, Equatable, Sendable {
    package var model: String
    package var sizeBytes: Int
    package var readBytes: Int
    package var seconds: Double
    package var problem: String?

    package init(_ outcome: ReadAhead.Outcome) {
      model = outcome.model
      sizeBytes = outcome.size
      readBytes = outcome.read
      seconds = outcome.duration.seconds
      problem = outcome.problem
    }
  }

  package struct Status: Codable, Equatable, Sendable {
    package var version = ""
    package var processID: Int32 = 0
    package var startedSecondsAgo = 0.0
    package var launcher = ""
    package var ollama = ""
    package var inventory = Inventory.cpu
    package var driver: String?
    package var store: ModelStore?
    package var problems: [String] = []
    package var remarks: [String]?
    package var dispatcherConnected = false
    package var desired = 0
    package var desiredReason = ""
    package var minimum = 0
    package var maximum = 0
    package var overrideSecondsLeft: Double?
    package var isOverridden = false
    package var coldStartSeconds = 0.0
    package var startTimes: [StartTimes]?
    package var readModels: [ReadModel]?
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

    /// Seconds: 30 days.
    package static let longest = 30.0 * 24 * 3600

    package var gpu: String
    package var reason: String
    package var forSeconds: Double?
    package init(gpu: String, reason: String, forSeconds: Double? = nil) {
      self.gpu = gpu
      self.reason = reason
      self.forSeconds = forSeconds
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
