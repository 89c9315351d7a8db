package import PoolCore

/// The types of `ollamapool.Dispatcher`, field by field as in its description.
package enum DispatcherTypes {
  package enum Role: String, Codable, Sendable, CaseIterable { case core, surplus, draining, out }
  package enum Health: String, Codable, Sendable, CaseIterable { case starting, healthy, unhealthy }
  package enum RetireAnswer: String, Codable, Sendable, CaseIterable { case retired, busy, unknown }

  package struct Instance: Codable, Equatable, Sendable {
    package var id: String
    package var invocation: String
    package var address: String
    package var gpus: [String]
    package var slots: Int
    package var models: [String]
    package var writesStore: Bool?
    package var role: Role
    package var reason: String
  }

  package struct InstanceState: Codable, Equatable, Sendable {
    package var id: String
    package var invocation: String
    package var address: String
    package var gpus: [String]
    package var slots: Int
    package var role: Role
    package var health: Health
    package var healthReason: String?
    package var healthFinal: Bool
    package var unhealthySeconds: Double?
    package var leases: Int
    package var references: Int
    package var writes: Int?
    package var idleSeconds: Double?
    package var retired: Bool
    package var firstAnswerAfterSeconds: Double?
    package var readyAfterSeconds: Double?
    package var loads: [ModelLoad]?
    package var loaded: [LoadedModel]?
  }

  package struct LoadedModel: Codable, Equatable, Sendable {
    package var name: String
    package var sizeBytes: Int
    package var sizeOnGPUBytes: Int
    package var contextLength: Int?
  }

  package struct ModelLoad: Codable, Equatable, Sendable {
    package var model: String
    package var seconds: Double
  }

  package struct ModelDemand: Codable, Equatable, Sendable {
    package var model: String
    package var waiting: Int
    package var inFlight: Int
  }

  package struct FrontEnd: Codable, Equatable, Sendable {
    package var name: String
    package var depth: Int
    package var oldestWaitSeconds: Double?
  }

  package struct Queue: Codable, Equatable, Sendable {
    package var epoch: String
    package var depth: Int
    package var oldestWaitSeconds: Double?
    package var inFlight: Int
    package var peakDemand: Int
    package var arrivals: Int
    package var completions: Int
    package var models: [ModelDemand]
    package var frontEnds: [FrontEnd]
    package var maxConcurrent: Int
    package var draining: Bool
    package var instances: [InstanceState]
  }

  package struct Request: Codable, Equatable, Sendable {
    package var id: UInt64
    package var position: Int?
    package var etaSeconds: Double?
    package var etaP90Seconds: Double?
    package var etaIsGuess: Bool?
    package var method: String
    package var path: String
    package var model: String?
    package var client: String
    package var user: String?
    package var `class`: String?
    package var ageSeconds: Double
    package var instance: String?
    package var begun: Bool
    package var requestID: String?
    package var suspended: Bool?

    package init(
      id: UInt64, estimate: WaitingEstimate?, method: String, path: String, model: String?, client: String,
      user: String?, className: String?, ageSeconds: Double, instance: String?, begun: Bool
    ) {
      self.id = id
      position = estimate?.position
      etaSeconds = estimate?.wait.seconds
      etaP90Seconds = estimate?.wait90.seconds
      etaIsGuess = estimate?.isGuess
      self.method = method
      self.path = path
      self.model = model
      self.client = client
      self.user = user
      self.`class` = className
      self.ageSeconds = ageSeconds
      self.instance = instance
      self.begun = begun
    }
  }
}

extension DispatcherTypes {
  package struct Reloads: Codable, Equatable, Sendable {
    package var model: String
    package var client: String
    package var count: Int
    package var instance: String
    package var from: String
    package var to: String
    package var secondsAgo: Double

    package init(
      model: String, client: String, count: Int, instance: String, from: String, to: String, secondsAgo: Double
    ) {
      self.model = model
      self.client = client
      self.count = count
      self.instance = instance
      self.from = from
      self.to = to
      self.secondsAgo = secondsAgo
    }
  }
}

/// Parameters and replies of the methods of `ollamapool.Dispatcher`.
package enum DispatcherCalls {
  package struct WatchQueueReply: Codable, Equatable, Sendable {
    package var queue: DispatcherTypes.Queue
    package init(queue: DispatcherTypes.Queue) { self.queue = queue }
  }

  package struct SetInstances: Codable, Equatable, Sendable {
    package var instances: [DispatcherTypes.Instance]
    package var models: [String]?
    package var storeRefusal: String?
    package var awaitingTurn: [String]?
    package init(
      instances: [DispatcherTypes.Instance], models: [String]? = nil, storeRefusal: String? = nil,
      awaitingTurn: [String]? = nil
    ) {
      self.instances = instances
      self.models = models
      self.storeRefusal = storeRefusal
      self.awaitingTurn = awaitingTurn
    }
  }

  package struct RetireInstance: Codable, Equatable, Sendable {
    package var id: String
    package var invocation: String
    package init(id: String, invocation: String) {
      self.id = id
      self.invocation = invocation
    }
  }

  package struct RetireInstanceReply: Codable, Equatable, Sendable {
    package var answer: DispatcherTypes.RetireAnswer
    package init(answer: DispatcherTypes.RetireAnswer) { self.answer = answer }
  }

  package struct ReportFleet: Codable, Equatable, Sendable {
    /// GPUs and slices of GPUs.
    package static let mostGPUs = 256
    /// For how long it holds, in seconds.
    package static let lifetimeSeconds = 30

    package var desired: Int
    package var backingOff: Int
    package var quarantined: Int
    package var cordoned: Int
    package var failedStarts: Int?
    package var degraded: Int?
    package var degradations: Int?
    package var gpus: [DispatcherTypes.GPU]?

    package init(
      desired: Int, backingOff: Int, quarantined: Int, cordoned: Int, failedStarts: Int? = nil, degraded: Int? = nil,
      degradations: Int? = nil, gpus: [DispatcherTypes.GPU]? = nil
    ) {
      self.desired = desired
      self.backingOff = backingOff
      self.quarantined = quarantined
      self.cordoned = cordoned
      self.failedStarts = failedStarts
      self.degraded = degraded
      self.degradations = degradations
      self.gpus = gpus
    }
  }

  package struct ReportQueueDepth: Codable, Equatable, Sendable {
    package var frontEnd: String
    package var depth: Int
    package var oldestWaitSeconds: Double?
    package init(frontEnd: String, depth: Int, oldestWaitSeconds: Double?) {
      self.frontEnd = frontEnd
      self.depth = depth
      self.oldestWaitSeconds = oldestWaitSeconds
    }
  }

  package struct WatchCapacityReply: Codable, Equatable, Sendable {
    package var maxConcurrent: Int
    package var endpoints: [String]
    package init(maxConcurrent: Int, endpoints: [String]) {
      self.maxConcurrent = maxConcurrent
      self.endpoints = endpoints
    }
  }

  package struct GetStatusReply: Codable, Equatable, Sendable {
    package var version: String
    package var processID: Int32
    package var startedSecondsAgo: Double
    package var endpoints: [String]
    package var metrics: String?
    package var queue: DispatcherTypes.Queue
    package var reloads: [DispatcherTypes.Reloads]?
    package init(
      version: String, processID: Int32, startedSecondsAgo: Double, endpoints: [String], metrics: String?,
      queue: DispatcherTypes.Queue, reloads: [DispatcherTypes.Reloads]? = nil
    ) {
      self.version = version
      self.processID = processID
      self.startedSecondsAgo = startedSecondsAgo
      self.endpoints = endpoints
      self.metrics = metrics
      self.queue = queue
      self.reloads = reloads
    }
  }

  package struct ListRequestsReply: Codable, Equatable, Sendable {
    /// So many are given, the oldest, where there are more.
    package static let most = 1000

    package var requests: [DispatcherTypes.Request]
    package init(requests: [DispatcherTypes.Request]) { self.requests = requests }
  }

  package struct SetPriority: Codable, Equatable, Sendable {
    package var id: UInt64?
    package var requestID: String?
    package var priority: Int

    package init(_ request: RequestReference, priority: Int) {
      (id, requestID) = (request.id, request.requestID)
      self.priority = priority
    }

    /// nil where it is not said, or said twice.
    package var request: RequestReference? { RequestReference(id: id, requestID: requestID) }
  }

  package struct CancelRequest: Codable, Equatable, Sendable {
    package var id: UInt64?
    package var requestID: String?

    package init(_ request: RequestReference) { (id, requestID) = (request.id, request.requestID) }

    /// nil where it is not said, or said twice.
    package var request: RequestReference? { RequestReference(id: id, requestID: requestID) }
  }

  /// Which request an order means.
  package enum RequestReference: Equatable, Sendable {
    /// The dispatcher's own number.
    case id(UInt64)
    /// What the client of a question got as `X-Request-Id`.
    case requestID(String)

    /// As somebody writes it.
    package init(_ text: String) { self = UInt64(text).map { .id($0) } ?? .requestID(text) }

    init?(id: UInt64?, requestID: String?) {
      switch (id, requestID) {
      case (let id?, nil): self = .id(id)
      case (nil, let requestID?): self = .requestID(requestID)
      default: return nil
      }
    }

    var id: UInt64? { if case .id(let id) = self { id } else { nil } }
    var requestID: String? { if case .requestID(let requestID) = self { requestID } else { nil } }
  }
}
