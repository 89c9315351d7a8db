import CNVML
import PoolCore

/// What NVML has told of GPUs, in this session or in those before: what doesn't change is kept where it can no longer
/// be read.
struct MetGPUs {
  /// By the GPU's UUID, each followed by its slices, as they were read last.
  var gpus: [String: [GPU]] = [:]
  /// Those of which it was told whether they are divided.
  var withKnownDivision: Set<String> = []

  /// A GPU or a slice, without what changes.
  subscript(uuid: String) -> GPU? { gpus.values.lazy.joined().first { $0.uuid == uuid }?.withoutReadings }
}

/// NVML between nvmlInit and nvmlShutdown. In it, the count of the GPUs and their indexes stay.
final class NVMLSession {
  /// Bounds what a broken library can make the pool do.
  static let mostGPUs = Placement.most

  private let library: NVMLLibrary
  private let files: FileSystem
  private var slots: PCIDevices
  /// By NVML's index, so that a GPU that gets lost is still known by its name: the GPU, and its slices.
  private var known: [UInt32: [GPU]] = [:]
  private(set) var met: MetGPUs

  /// - Parameter met: in sessions before.
  init(_ library: NVMLLibrary, _ files: FileSystem, met: MetGPUs) throws(InventoryProblem) {
    let code = library.open()
    guard code == CNVML_SUCCESS else { throw library.problem(code, in: "nvmlInit_v2") }
    self.library = library
    self.files = files
    self.met = met
    slots = PCIDevices(files)
  }

  deinit { library.close() }

  var driverVersion: String? { if case .value(let version) = library.systemDriverVersion { version } else { nil } }

  /// All GPUs as NVML counts them, slices after theirs, and what could not be read. Throws where not even their count
  /// could: then the session is of no more use.
  func read() throws(InventoryProblem) -> (gpus: [GPU], problems: [InventoryProblem]) {
    var count: UInt32 = 0
    let code = library.count(&count)
    guard code == CNVML_SUCCESS else { throw library.problem(code, in: "nvmlDeviceGetCount_v2") }
    var gpus: [GPU] = []
    var problems: [InventoryProblem] = []
    for index in 0..<min(count, UInt32(Self.mostGPUs)) { gpus += read(index, &problems) }
    if count > Self.mostGPUs {
      problems.append(
        InventoryProblem(
          subject: "nvmlDeviceGetCount_v2", text: "reports \(count) GPUs; only the first \(Self.mostGPUs) are used"))
    }
    return (gpus, problems)
  }

  /// A GPU that has stopped answering is still listed, with a problem, and without the values that change.
  private func read(_ index: UInt32, _ problems: inout [InventoryProblem]) -> [GPU] {
    let remembered = known[index, default: []]
    let label = remembered.first?.uuid ?? "GPU \(index)"
    func silent(_ call: String, _ code: cnvml_return) -> [GPU] {
      problems.append(library.problem(code, in: call, gpu: label, kind: .silent))
      // Whoever looks at a slice alone is to hear of it, too.
      problems += remembered.dropFirst().map { library.problem(code, in: call, gpu: $0.uuid, kind: .silent) }
      return remembered.map(\.withoutReadings)
    }
    var handle: cnvml_device?
    let code = library.handleByIndex(index, &handle)
    guard code == CNVML_SUCCESS, let handle else { return silent("nvmlDeviceGetHandleByIndex_v2", code) }
    let device = NVMLDevice(library: library, handle: handle)
    let uuid: String
    switch device.uuid {
    case .value(let text): uuid = text
    case .unknown: return remembered.map(\.withoutReadings)
    case .failed(let code): return silent("nvmlDeviceGetUUID", code)
    }
    var faults = NVMLFaults(library: library, gpu: uuid)
    defer { problems += faults.problems }
    let same = met.gpus[uuid, default: []]
    var gpu = same.first?.withoutReadings ?? GPU(index: 0, uuid: uuid, vendor: .nvidia)
    gpu.name = faults.value(device.name, "nvmlDeviceGetName") ?? gpu.name
    gpu.pciAddress = faults.value(device.pciAddress, "nvmlDeviceGetPciInfo_v3") ?? gpu.pciAddress
    faults.problems += slots.describe(&gpu)
    let minor = faults.value(device.minorNumber, "nvmlDeviceGetMinorNumber")
    if let minor { gpu.deviceNodes = GPU.Vendor.nvidia.completed(["/dev/nvidia\(minor)"]) }
    let count = faults.problems.count
    if let isDivided = faults.value(device.isDivided, "nvmlDeviceGetMigMode") {
      gpu.kind = isDivided ? .divided : .whole
    }
    if faults.problems.count == count {
      met.withKnownDivision.insert(uuid)
    } else if !met.withKnownDivision.contains(uuid) {
      faults.mayHideSlices()
    }
    // What is told of all slices together is not for everybody.
    let refusal = cnvml_return(gpu.kind == .divided ? CNVML_NO_PERMISSION : CNVML_SUCCESS)
    let memory = faults.value(device.memory, "nvmlDeviceGetMemoryInfo", ignoring: refusal)
    gpu.memoryTotal = memory?.total ?? gpu.memoryTotal
    gpu.memoryUsed = memory?.used
    gpu.utilisation = faults.value(device.utilisation, "nvmlDeviceGetUtilizationRates")
    gpu.temperature = faults.value(device.temperature, "nvmlDeviceGetTemperature")
    let processes = faults.processes(of: device, ignoring: refusal)
    gpu.processes = processes.map { NVMLProcesses.merged($0) }
    var slices: [GPU] = []
    if gpu.kind == .divided {
      let reader = NVMLSlices(library: library, files: files, parent: gpu, minor: minor, processes: processes)
      slices = reader.read(device, known: Array(same.dropFirst()), &faults)
      // Without the right to see all of it at once, the slices' own lists do.
      if gpu.processes == nil, slices.allSatisfy({ $0.processes != nil }) {
        gpu.processes = NVMLProcesses.merged(slices.flatMap { $0.processes ?? [] })
      }
    }
    gpu.slices = slices.map(\.uuid)
    known[index] = [gpu] + slices
    met.gpus[uuid] = known[index]
    return [gpu] + slices
  }
}

/// Takes down what fails of one GPU.
struct NVMLFaults {
  let library: NVMLLibrary
  let gpu: String
  private(set) var isLost = false
  var problems: [InventoryProblem] = []

  init(library: NVMLLibrary, gpu: String) {
    self.library = library
    self.gpu = gpu
  }

  /// `nil` where it isn't known or fails.
  /// - Parameter ignored: a code that is no fault.
  mutating func value<Value>(
    _ answer: Answer<Value>, _ call: String, ignoring ignored: cnvml_return = cnvml_return(CNVML_SUCCESS)
  ) -> Value? {
    switch answer {
    case .value(let value): return value
    case .unknown, .failed(ignored): return nil
    case .failed(let code):
      // Every further call fails alike.
      if !isLost { problems.append(library.problem(code, in: call, gpu: gpu)) }
      isLost = isLost || code == CNVML_GPU_IS_LOST
      return nil
    }
  }

  /// Says of what has failed last that slices may be there all the same.
  mutating func mayHideSlices() {
    guard var cause = problems.last else { return }
    cause.gpu = "\(gpu), MIG devices"
    problems.append(cause)
  }

  /// Computing or drawing. `nil` where either is not known: what isn't complete would make a GPU look free.
  mutating func processes(
    of device: NVMLDevice, ignoring ignored: cnvml_return = cnvml_return(CNVML_SUCCESS)
  ) -> [NVMLProcesses.Entry]? {
    guard
      let computing = value(device.computeProcesses, "nvmlDeviceGetComputeRunningProcesses", ignoring: ignored)
    else { return nil }
    let graphics = device.graphicsProcesses
    if case .unknown = graphics { return computing }
    return value(graphics, "nvmlDeviceGetGraphicsRunningProcesses", ignoring: ignored).map { computing + $0 }
  }
}
