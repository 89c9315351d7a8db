import Console
import ControlInterface
import Gateway
import PoolCore

/// What has been counted since the dispatcher began, and what the supervisor counts. Rendered when somebody asks.
struct DispatcherMetrics {
  /// How a request ended, as a label. What was refused for want of room is `refused`, and `invalid` what was refused
  /// because it is wrong.
  enum Outcome: String, CaseIterable { case served, cancelled, expired, failed, refused, invalid }

  /// Reasons for which the core refuses a request before it is sent anywhere.
  private static let coreRefusals: [RequestFailure] = [
    .queueFull, .rateLimited, .tokenLimited, .tooManyConcurrent, .tooManyWaiting, .shuttingDown, .modelNotServed,
    .storeRefused,
  ]
  /// Of these, those that lie in the request.
  private static let faults: Set<RequestFailure> = [.modelNotServed, .storeRefused]
  /// All reasons for which a request is refused, as labels.
  static let refusalReasons = coreRefusals.map(\.rawValue) + GatewayRefusal.allCases.map(\.rawValue)

  private(set) var ended: [Outcome: Int] = [:]
  private(set) var refused: [String: Int] = [:]
  /// Models that are told apart; clients make the names up, but only what was loaded counts.
  static let mostModels = 100
  private(set) var reloads: [String: Int] = [:]
  private(set) var startsReady = 0
  /// The supervisor's own counters: a start can fail before there is anything for the dispatcher to see. nil before the
  /// first word of them, since a zero would make a fall and a rise of a counter that goes on over this process's
  /// restart. They stay while there is no supervisor.
  private(set) var startsFailed: Int?
  private(set) var degradations: Int?
  /// By the GPU's name.
  private(set) var gpuFaults: [(gpu: String, faults: [DispatcherTypes.GPUFaults])]?
  private(set) var wait = Histogram(
    bounds: [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600])
  private(set) var service = Histogram(bounds: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800])
  private(set) var start = Histogram(bounds: startBounds)
  /// From the registration to the first answer.
  private(set) var discovery = Histogram(bounds: startBounds)
  /// Of models under `preload`, before an instance was ready.
  private(set) var loads: [LoadPlace: LoadSum] = [:]
  private static let startBounds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600]

  /// - Parameter wasSent: whether an instance had been given it.
  mutating func requestEnded(_ outcome: RequestOutcome, wasSent: Bool) {
    switch outcome {
    case .served: ended[.served, default: 0] += 1
    case .cancelled: ended[.cancelled, default: 0] += 1
    case .expired: ended[.expired, default: 0] += 1
    case .failed(let failure) where !wasSent && Self.coreRefusals.contains(failure):
      refuse(failure.rawValue, as: Self.faults.contains(failure) ? .invalid : .refused)
    case .failed: ended[.failed, default: 0] += 1
    }
  }

  mutating func gatewayRefused(_ refusal: GatewayRefusal) {
    refuse(refusal.rawValue, as: refusal.isForWantOfRoom ? .refused : .invalid)
  }

  private mutating func refuse(_ reason: String, as outcome: Outcome = .refused) {
    ended[outcome, default: 0] += 1
    refused[reason, default: 0] += 1
  }

  mutating func learn(_ report: DispatcherCalls.ReportFleet) {
    startsFailed = report.failedStarts ?? startsFailed
    degradations = report.degradations ?? degradations
    gpuFaults = report.gpus.map { $0.map { ($0.name, $0.faults) } } ?? gpuFaults
  }

  mutating func modelReloaded(_ model: String) {
    let isKnown = reloads[model] != nil || reloads.count < Self.mostModels
    reloads[isKnown ? model : "other", default: 0] += 1
  }

  mutating func waited(_ time: Duration) { wait.observe(time.seconds) }
  mutating func served(within time: Duration) { service.observe(time.seconds) }

  mutating func instanceBecameReady(
    _ id: InstanceID, after time: Duration, firstAnswerAfter: Duration?, loads: [TimedLoad]
  ) {
    startsReady += 1
    start.observe(time.seconds)
    if let firstAnswerAfter { discovery.observe(firstAnswerAfter.seconds) }
    for load in loads {
      let place = LoadPlace(instance: id, model: load.model)
      self.loads[place, default: LoadSum()].count += 1
      self.loads[place, default: LoadSum()].time += load.duration
    }
  }

  /// A model and where it is loaded, which is on the same GPUs each time.
  struct LoadPlace: Hashable {
    var instance: InstanceID
    var model: String
  }

  struct LoadSum {
    var count = 0
    var time = Duration.zero
  }
}
