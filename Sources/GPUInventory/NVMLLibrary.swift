import CNVML
import Glibc
import Synchronization

/// NVML's functions, found at run time. Most may be missing, as in an old driver. NVML is safe to call from any thread.
/// Once used it is never unloaded: it keeps threads and exit handlers.
struct NVMLLibrary: Sendable {
  let path: String
  private let initialize: cnvml_init_function
  let count: cnvml_count_function
  let handleByIndex: cnvml_handle_by_index_function
  let uuid: cnvml_text_function
  private let shutdown: cnvml_shutdown_function?
  let errorString: cnvml_error_string_function?
  let driverVersion: cnvml_system_text_function?
  let name: cnvml_text_function?
  let minorNumber: cnvml_number_function?
  let memory: cnvml_memory_function?
  let memoryV2: cnvml_memory_v2_function?
  let utilisation: cnvml_utilization_function?
  let temperature: cnvml_temperature_function?
  let pciInfo: cnvml_pci_info_function?
  let computeProcesses: cnvml_processes_function?
  let graphicsProcesses: cnvml_processes_function?
  let migMode: cnvml_mig_mode_function?
  let mostSlices: cnvml_number_function?
  let slice: cnvml_mig_handle_function?
  let gpuInstance: cnvml_number_function?
  let computeInstance: cnvml_number_function?
  let events: Events?

  /// What waiting for events takes.
  struct Events: Sendable {
    let createSet: cnvml_event_set_create_function
    let freeSet: cnvml_event_set_free_function
    let types: cnvml_event_types_function
    let register: cnvml_register_events_function
    let wait: cnvml_event_wait_function
  }

  /// The library isn't there, isn't one, or lacks what nothing can be read without.
  init(path: String) throws(InventoryProblem) {
    guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      let text = dlerror().map { String(cString: $0) } ?? "can't be loaded"
      throw InventoryProblem(subject: path, text: String(text.trimmingPrefix(path + ": ")))
    }
    func find<Function>(_ symbols: String..., as type: Function.Type = Function.self) -> Function? {
      symbols.lazy.compactMap { dlsym(handle, $0) }.first.map { unsafeBitCast($0, to: type) }
    }
    func need<Function>(
      _ symbol: String, as type: Function.Type = Function.self
    ) throws(InventoryProblem) -> Function {
      if let function = find(symbol, as: type) { return function }
      dlclose(handle)
      throw InventoryProblem(
        subject: path, text: "has no \(symbol)", advice: "install NVIDIA's driver 450 or a later one")
    }
    self.path = path
    initialize = try need("nvmlInit_v2")
    count = try need("nvmlDeviceGetCount_v2")
    handleByIndex = try need("nvmlDeviceGetHandleByIndex_v2")
    uuid = try need("nvmlDeviceGetUUID")
    shutdown = find("nvmlShutdown")
    errorString = find("nvmlErrorString")
    driverVersion = find("nvmlSystemGetDriverVersion")
    name = find("nvmlDeviceGetName")
    minorNumber = find("nvmlDeviceGetMinorNumber")
    memory = find("nvmlDeviceGetMemoryInfo")
    memoryV2 = find("nvmlDeviceGetMemoryInfo_v2")
    utilisation = find("nvmlDeviceGetUtilizationRates")
    temperature = find("nvmlDeviceGetTemperature")
    pciInfo = find("nvmlDeviceGetPciInfo_v3")
    computeProcesses = find("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
    graphicsProcesses = find("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2")
    migMode = find("nvmlDeviceGetMigMode")
    mostSlices = find("nvmlDeviceGetMaxMigDeviceCount")
    slice = find("nvmlDeviceGetMigDeviceHandleByIndex")
    gpuInstance = find("nvmlDeviceGetGpuInstanceId")
    computeInstance = find("nvmlDeviceGetComputeInstanceId")
    events =
      if let createSet: cnvml_event_set_create_function = find("nvmlEventSetCreate"),
        let freeSet: cnvml_event_set_free_function = find("nvmlEventSetFree"),
        let types: cnvml_event_types_function = find("nvmlDeviceGetSupportedEventTypes"),
        let register: cnvml_register_events_function = find("nvmlDeviceRegisterEvents"),
        let wait: cnvml_event_wait_function = find("nvmlEventSetWait_v2", "nvmlEventSetWait")
      {
        Events(createSet: createSet, freeSet: freeSet, types: types, register: register, wait: wait)
      } else {
        nil
      }
  }

  /// What this process's users of one library have to do with each other.
  private struct Use {
    var users = 0
    var awaitsRecount = false
  }

  private static let uses = Mutex<[String: Use]>([:])
  private var use: Use { Self.uses.withLock { $0[path, default: Use()] } }

  /// To be closed after each success.
  func open() -> cnvml_return {
    // Before it is open: who closes and opens it meanwhile is not alone.
    Self.uses.withLock { uses in
      if uses[path, default: Use()].users == 0 { uses[path] = Use() }
      uses[path]?.users += 1
    }
    let code = initialize()
    if code != CNVML_SUCCESS { Self.uses.withLock { $0[path]?.users -= 1 } }
    return code
  }

  func close() {
    _ = shutdown?()
    Self.uses.withLock { $0[path]?.users -= 1 }
  }

  /// NVML counts the GPUs when the first of its users in a process opens it, and again only once the last has closed
  /// it. While this is true nobody should have it open who can do without.
  var awaitsRecount: Bool { use.awaitsRecount }

  /// Whether a user who closes it and opens it again has the GPUs counted.
  var canBeRecounted: Bool { use.awaitsRecount && use.users <= 1 }

  func awaitRecount() { Self.uses.withLock { $0[path]?.awaitsRecount = true } }

  func problem(
    _ code: cnvml_return, in call: String, gpu: String? = nil, kind: InventoryProblem.Kind = .partial
  ) -> InventoryProblem {
    let text = errorString?(code).map { String(cString: $0) } ?? "failed"
    return InventoryProblem(gpu: gpu, subject: call, code: code, text: text, kind: kind)
  }
}
