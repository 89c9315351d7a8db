/// A model that an instance loaded before it was ready, and how long that took.
package struct TimedLoad: Hashable, Sendable {
  /// By its normalised name.
  package var model: String
  package var duration: Duration

  package init(model: String, duration: Duration) {
    self.model = model
    self.duration = duration
  }
}

/// One start of an instance, from the order to its slots.
package struct ColdStart: Hashable, Sendable {
  package var total: Duration
  /// From the order until the unit runs.
  package var unit: Duration
  /// From there to its first answer; Ollama has found its GPUs by then. nil where the dispatcher did not say.
  package var discovery: Duration?
  /// Of the models under `preload`, in their order.
  package var loads: [TimedLoad]

  package init(total: Duration, unit: Duration = .zero, discovery: Duration? = nil, loads: [TimedLoad] = []) {
    self.total = total
    self.unit = unit
    self.discovery = discovery
    self.loads = loads
  }
}

/// What the starts in one placement, so on the same GPUs with the same program, took of late.
package struct StartTimes: Hashable, Sendable {
  package private(set) var count = 0
  package private(set) var total = ColdStarts()
  package private(set) var unit = ColdStarts()
  package private(set) var discovery = ColdStarts()
  /// By model; as many as there may be under `preload`.
  package private(set) var loads: [String: ColdStarts] = [:]

  static let mostModels = 64

  package init() {}

  mutating func add(_ start: ColdStart) {
    count += 1
    total.add(start.total)
    unit.add(start.unit)
    if let time = start.discovery { discovery.add(time) }
    for load in start.loads where loads[load.model] != nil || loads.count < Self.mostModels {
      loads[load.model, default: ColdStarts()].add(load.duration)
    }
  }
}
