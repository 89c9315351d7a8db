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
    // One more comes every 33 s for each instance, so that some always wait.
    let workload = (0..<110 * instances).map {
      SimulatedRequest(arrival: .zero + .seconds(33) * ($0 / instances - 1), service: .seconds(35))
    }
    var pool = PoolSimulation(settings: settings, workload: workload, seed: 35)
    try pool.run(until: .zero + .seconds(3_600))
    return pool.results.values.count { if case .ended(.served, _) = $0 { true } else { false } }
  }

  @Test func oneInstanceServesAHundredAnHour() throws {
    #expect(try (100...103).contains(Self.servedInAnHour(instances: 1)))
  }

  @Test func threeInstancesServeThreeHundredAnHour() throws {
    #expect(try (300...309).contains(Self.servedInAnHour(instances: 3)))
  }
}
