import OrderedCollections
import PoolCore

/// Bytes.
func gibibytes(_ count: Int) -> Int { count << 30 }

extension GPUReading {
  /// A GPU of 24 GiB.
  static func of(
    _ number: Int, used: Int? = 0, by processes: [Process]? = [], trouble: GPUTrouble? = nil
  ) -> GPUReading {
    GPUReading(
      uuid: "GPU-\(number)", memoryTotal: gibibytes(24), memoryUsed: used.map(gibibytes), processes: processes,
      trouble: trouble)
  }

  /// The same with training on it.
  static func busy(_ number: Int, with memory: Int = 5, ours: [Process] = []) -> GPUReading {
    .of(number, used: memory + ours.count * 10, by: [.training(memory)] + ours)
  }
}

extension GPUReading.Process {
  static func training(_ memory: Int?) -> Self {
    Self(pid: 4711, memory: memory.map(gibibytes), owner: .other(command: "python3"))
  }

  static func ours(_ id: InstanceID, _ memory: Int = 10) -> Self {
    Self(pid: 99, memory: gibibytes(memory), owner: .instance(id))
  }
}

extension LoadedModel {
  /// In GiB.
  static func of(_ size: Int, onGPU: Int? = nil, name: String = "llama3.2:latest") -> LoadedModel {
    LoadedModel(name: name, size: gibibytes(size), sizeOnGPU: gibibytes(onGPU ?? size))
  }
}

extension FleetUnderTest {
  mutating func read(_ readings: GPUReading...) { perform(fleet.gpusRead(readings, at: now)) }

  mutating func faults(_ number: Int, _ text: String, _ consequence: GPUFault.Consequence) {
    perform(fleet.gpuFaulted("GPU-\(number)", GPUFault(text, consequence), at: now))
  }

  /// Each of these is ready and says this of its memory; it serves nothing unless that is said.
  mutating func observe(loaded: KeyValuePairs<InstanceID, [LoadedModel]?>, leases: Int = 0) {
    var observation = QueueObservation()
    observation.inFlight = leases * loaded.count
    observation.peakDemand = observation.inFlight
    observation.instances = loaded.compactMap { id, models in
      fleet.placements[id]?.running.map {
        InstanceObservation(
          id: id, invocation: $0.unit.invocation, health: .healthy, leases: leases, idle: leases == 0 ? .zero : nil,
          loaded: models)
      }
    }
    perform(fleet.observed(observation, at: now))
  }

  /// Instances that are ready, one on each GPU.
  static func running(_ count: Int, of gpus: Int? = nil, _ limits: (inout FleetLimits) -> Void = { _ in })
    -> FleetUnderTest
  {
    var fleet = FleetUnderTest(gpus: gpus ?? count, minimum: count)
    limits(&fleet.fleet.limits)
    for number in 0..<count { fleet.runs("gpu\(number)") }
    fleet.connect()
    fleet.observe(references: [], ready: (0..<count).map { InstanceID("gpu\($0)") })
    return fleet
  }

  /// Reads the same every two seconds.
  mutating func pass(_ duration: Duration, _ readings: GPUReading...) {
    let end = now + duration
    while now < end {
      now = min(now + .seconds(2), end)
      perform(fleet.gpusRead(readings, at: now))
    }
  }

  var held: [StartObstacle.Kind] {
    reports.compactMap { if case .startHeld(_, let obstacle) = $0 { obstacle.kind } else { nil } }
  }

  func obstacle(_ id: InstanceID) -> StartObstacle? { fleet.obstacle(against: id, at: now) }

  var writers: [String] { told.filter { $0.writesStore == true }.map(\.id.name) }
}
