import CNVML
import PoolCore

/// NVML between nvmlInit and nvmlShutdown. In it, the count of the GPUs and their indexes stay.
final class NVMLSession {
  /// Bounds what a broken library can make the pool do.
  private static let mostGPUs = Placement.most

  private let library: NVMLLibrary
  /// By NVML's index, so that a GPU that gets lost is still known by its name.
  private var known: [UInt32: GPU] = [:]

  init(_ library: NVMLLibrary) throws(InventoryProblem) {
    let code = library.initialize()
    guard code == CNVML_SUCCESS else { throw library.problem(code, in: "nvmlInit_v2") }
    self.library = library
  }

  deinit { _ = library.shutdown?() }

  /// All GPUs in the order of their PCI addresses, and what could not be read. Throws where not even their count could:
  /// then the session is of no more use.
  func read() throws(InventoryProblem) -> (gpus: [GPU], problems: [InventoryProblem]) {
    var count: UInt32 = 0
    let code = library.count(&count)
    guard code == CNVML_SUCCESS else { throw library.problem(code, in: "nvmlDeviceGetCount_v2") }
    var gpus: [GPU] = []
    var problems: [InventoryProblem] = []
    for index in 0..<min(count, UInt32(Self.mostGPUs)) {
      if let gpu = read(index, &problems) { gpus.append(gpu) }
    }
    if count > Self.mostGPUs {
      problems.append(
        InventoryProblem(
          subject: "nvmlDeviceGetCount_v2", text: "reports \(count) GPUs; only the first \(Self.mostGPUs) are used"))
    }
    return (Self.inPCIOrder(gpus), problems)
  }

  /// A GPU that has stopped answering is still listed, with a problem, and without the values that change.
  private func read(_ index: UInt32, _ problems: inout [InventoryProblem]) -> GPU? {
    let remembered = known[index]
    let label = remembered?.uuid ?? "GPU \(index)"
    var handle: cnvml_device?
    let code = library.handleByIndex(index, &handle)
    guard code == CNVML_SUCCESS, let handle else {
      problems.append(library.problem(code, in: "nvmlDeviceGetHandleByIndex_v2", gpu: label))
      return remembered
    }
    let device = NVMLDevice(library: library, handle: handle)
    let uuid: String
    switch device.uuid {
    case .value(let text): uuid = text
    case .unknown: return remembered
    case .failed(let code):
      problems.append(library.problem(code, in: "nvmlDeviceGetUUID", gpu: label))
      return remembered
    }
    var isLost = false
    func value<Value>(_ answer: Answer<Value>, _ call: String) -> Value? {
      switch answer {
      case .value(let value): return value
      case .unknown: return nil
      case .failed(let code):
        // Every further call fails alike.
        if !isLost { problems.append(library.problem(code, in: call, gpu: uuid)) }
        isLost = isLost || code == CNVML_GPU_IS_LOST
        return nil
      }
    }
    // What doesn't change is kept where it can no longer be read.
    var gpu = remembered.flatMap { $0.uuid == uuid ? $0 : nil } ?? GPU(index: 0, uuid: uuid, vendor: .nvidia)
    gpu.name = value(device.name, "nvmlDeviceGetName") ?? gpu.name
    gpu.pciAddress = value(device.pciAddress, "nvmlDeviceGetPciInfo_v3") ?? gpu.pciAddress
    if let minor = value(device.minorNumber, "nvmlDeviceGetMinorNumber") {
      gpu.deviceNodes = GPU.Vendor.nvidia.completed(["/dev/nvidia\(minor)"])
    }
    let memory = value(device.memory, "nvmlDeviceGetMemoryInfo")
    gpu.memoryTotal = memory?.total ?? gpu.memoryTotal
    known[index] = gpu

    gpu.memoryUsed = memory?.used
    gpu.utilisation = value(device.utilisation, "nvmlDeviceGetUtilizationRates")
    gpu.temperature = value(device.temperature, "nvmlDeviceGetTemperature")
    return gpu
  }

  /// GPUs without an address come last, as NVML counts them.
  private static func inPCIOrder(_ gpus: [GPU]) -> [GPU] {
    let last = PCIAddress(domain: .max, bus: .max, device: .max)
    let keyed = gpus.enumerated().map { (gpu: $1, key: ($1.pciAddress.flatMap { PCIAddress($0) } ?? last, $0)) }
    return keyed.sorted { $0.key < $1.key }.enumerated().map { index, entry in
      var gpu = entry.gpu
      gpu.index = index
      return gpu
    }
  }
}
