import PoolCore
import Simulation
import Testing

/// With requests of 35 seconds and a queue that never runs dry, an hour of virtual time.
@Suite struct ThroughputTests {
  static func servedInAnHour(instances: Int) throws -> Int {
    var settings = SimulationSettings()
    settings.gpus = instances
    settings.scaling = ScalingSettings(minimum: instances)
    settings.discovery = .milliseconds(100)...(.milliseconds(200))
    settings.firstByte = .milliseconds(1)...(.milliseconds(5))
    settings.dispatchLimits.stallTimeout = .seconds(60)
    let backlog = [SimulatedRequest](
      repeating: SimulatedRequest(arrival: .zero, service: .seconds(35)), count: 110 * instances)
    var pool = PoolSimulation(settings: settings, workload: backlog, seed: 35)
    try pool.run(until: .zero + .seconds(3_600))
    return pool.results.values.count { if case .ended(.served, _, _) = $0 { true } else { false } }
  }

  @Test func oneInstanceServesAHundredAnHour() throws {
    #expect(try (100...103).contains(Self.servedInAnHour(instances: 1)))
  }

  @Test func threeInstancesServeThreeHundredAnHour() throws {
    #expect(try (300...309).contains(Self.servedInAnHour(instances: 3)))
  }
}
