package import PoolCore

/// A machine and its misfortunes.
package struct SimulationSettings: Sendable {
  package var gpus = 4
  package var slots = 1
  /// The only models of the placements on single GPUs, by the GPU's number; any where there are none.
  package var reservedModels: [Int: [String]] = [:]
  package var scaling = ScalingSettings()
  package var dispatchLimits = DispatchLimits()
  package var fleetLimits = FleetLimits()

  /// From the start's order to the unit running, and from there to the first 200.
  package var unitStart: ClosedRange<Duration> = .milliseconds(5)...(.milliseconds(50))
  package var discovery: ClosedRange<Duration> = .milliseconds(100)...(.seconds(3))
  /// From a stop that is no kill to the unit's end.
  package var unitStop: ClosedRange<Duration> = .milliseconds(5)...(.seconds(3))
  /// From the request's bytes to the first byte of the answer.
  package var firstByte: ClosedRange<Duration> = .milliseconds(50)...(.milliseconds(500))
  /// To load a model, and how many an instance has room for.
  package var load: ClosedRange<Duration> = .milliseconds(50)...(.milliseconds(800))
  package var loadedModels = 2
  /// To read a model ahead.
  package var reading: ClosedRange<Duration> = .milliseconds(50)...(.seconds(4))
  /// From one daemon to the other, and from the supervisor to systemd.
  package var latency: ClosedRange<Duration> = .microseconds(100)...(.milliseconds(5))
  /// Whether there is a driver that tells of the GPUs.
  package var readsGPUs = false
  /// The numbers of GPUs that are lost for good when all other misfortune has ended.
  package var deadGPUs: Set<Int> = []
  package var faults = Faults()

  package init() {}

  /// How likely each misfortune is at a chance to happen.
  package struct Faults: Sendable {
    /// Per served attempt: the instance dies in the middle of it.
    package var instanceDies = 0.0
    /// Per served attempt: the stream stands still, while pings are answered.
    package var streamStalls = 0.0
    /// Per start: the unit fails, or never answers.
    package var startFails = 0.0
    package var neverAnswers = 0.0
    /// Per attempt: a 5xx instead of an answer.
    package var answersWithError = 0.0
    /// Per attempt of every fifth inference: its connection breaks, and no other one's.
    package var breaks = 0.0
    /// Per start: from then on a 5xx to most inference.
    package var startsErring = 0.0
    /// Per start: the supervisor is told that it has failed, and it comes through all the same.
    package var startAnswersLost = 0.0
    /// Per start: the models are on the CPU.
    package var startsDegraded = 0.0
    /// Per order to open or close an instance's way out to the network: it fails, or only its answer is lost.
    package var networkOrdersFail = 0.0
    /// Per model that is read ahead: its reader says nothing any more, or ends.
    package var readersHang = 0.0
    /// Mean time between changes of a GPU: a trouble, a fault, other people's programs; nil for never.
    package var gpuChanges: Duration?
    /// Per question what an instance holds in memory: no answer in time, and a model that is evicted without a request.
    package var listStalls = 0.0
    package var evictions = 0.0
    /// Mean time between breaks of the daemons' connection while both live; nil for never.
    package var linkBreaks: Duration?
    /// Mean time between instances that answer no probe for a while; nil for never.
    package var hangs: Duration?
    /// Mean time between restarts of each daemon; nil for never.
    package var dispatcherRestarts: Duration?
    package var supervisorRestarts: Duration?
    /// Mean time between changes of the wanted specification and of the placements; nil for never.
    package var specificationChanges: Duration?
    /// Mean time between changes of fairness, aging and weights, and of a waiting request's priority; nil for never.
    package var orderChanges: Duration?
    package var priorityChanges: Duration?
    /// Mean time between orders of an operator (drain, restart, cordon, uncordon, bounds); nil for never.
    package var operatorOrders: Duration?

    package init() {}
  }
}

/// One request of a workload.
package struct SimulatedRequest: Hashable, Sendable {
  package var arrival: Instant
  /// How long the answer takes; without a stream it comes at once, at the end of it.
  package var service: Duration
  /// When the client leaves, counted from the arrival; nil for a patient one.
  package var patience: Duration?
  package var need = DispatchRequest.Need.slot
  /// When its client goes away, counted from the arrival, and for how long; nil for one that stays.
  package var absence: Absence?
  /// Whether it outlives the dispatcher that has it: it is suspended then until its client is back.
  package var isDurable = false
  /// nil where it can't be read.
  package var model: String?
  package var options = RunnerOptions()
  package var streams = true
  /// Whether it can be sent again to another instance: not where its body was passed on as it came.
  package var isReplayable = true
  package var share = DispatchRequest.Share()
  package var inputTokens = 0
  package var outputTokens = 0

  package struct Absence: Hashable, Sendable {
    var after: Duration
    var time: Duration

    package init(after: Duration, time: Duration) {
      self.after = after
      self.time = time
    }
  }

  package init(arrival: Instant, service: Duration, patience: Duration? = nil) {
    self.arrival = arrival
    self.service = service
    self.patience = patience
  }

  var needsNetwork: Bool { need == .storeReference || need.leavesMachine }
  var kind: DispatchRequest.Kind { DispatchRequest.Kind(model: model, options: options) }

  func dispatched(as id: RequestID) -> DispatchRequest {
    DispatchRequest(
      id: id, need: need, model: model, options: options, streams: streams, share: share, inputTokens: inputTokens)
  }
}
