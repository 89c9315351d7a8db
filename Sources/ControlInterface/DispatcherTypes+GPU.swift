/// The GPUs, as the supervisor tells the dispatcher of them.
extension DispatcherTypes {
  package typealias GPUState = SupervisorTypes.GPUState

  package struct GPUFaults: Codable, Equatable, Sendable {
    /// Of one GPU.
    package static let mostKinds = 32

    package var kind: String
    package var count: Int

    package init(kind: String, count: Int) {
      self.kind = kind
      self.count = count
    }
  }

  package struct GPU: Codable, Equatable, Sendable {
    package var name: String
    package var state: GPUState
    package var memoryTotalBytes: Int?
    package var memoryUsedBytes: Int?
    package var memoryOursBytes: Int?
    package var memoryOthersBytes: Int?
    package var utilisationPercent: Int?
    package var temperatureCelsius: Int?
    package var faults: [GPUFaults]

    package init(name: String, state: GPUState, faults: [GPUFaults] = []) {
      self.name = name
      self.state = state
      self.faults = faults
    }
  }
}
