import CNVML
import Glibc

/// NVML's functions, found at run time. Most may be missing, as in an old driver. NVML is safe to call from any thread.
/// Once used it is never unloaded: it keeps threads and exit handlers.
struct NVMLLibrary {
  let initialize: cnvml_init_function
  let count: cnvml_count_function
  let handleByIndex: cnvml_handle_by_index_function
  let uuid: cnvml_text_function
  let shutdown: cnvml_shutdown_function?
  let errorString: cnvml_error_string_function?
  let name: cnvml_text_function?
  let minorNumber: cnvml_number_function?
  let memory: cnvml_memory_function?
  let memoryV2: cnvml_memory_v2_function?
  let utilisation: cnvml_utilization_function?
  let temperature: cnvml_temperature_function?
  let pciInfo: cnvml_pci_info_function?

  /// The library isn't there, isn't one, or lacks what nothing can be read without.
  init(path: String) throws(InventoryProblem) {
    guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      let text = dlerror().map { String(cString: $0) } ?? "can't be loaded"
      throw InventoryProblem(subject: path, text: String(text.trimmingPrefix(path + ": ")))
    }
    func find<Function>(_ symbol: String, as type: Function.Type = Function.self) -> Function? {
      dlsym(handle, symbol).map { unsafeBitCast($0, to: type) }
    }
    func need<Function>(
      _ symbol: String, as type: Function.Type = Function.self
    ) throws(InventoryProblem) -> Function {
      if let function = find(symbol, as: type) { return function }
      dlclose(handle)
      throw InventoryProblem(subject: path, text: "has no \(symbol); install NVIDIA's driver 450 or a later one")
    }
    initialize = try need("nvmlInit_v2")
    count = try need("nvmlDeviceGetCount_v2")
    handleByIndex = try need("nvmlDeviceGetHandleByIndex_v2")
    uuid = try need("nvmlDeviceGetUUID")
    shutdown = find("nvmlShutdown")
    errorString = find("nvmlErrorString")
    name = find("nvmlDeviceGetName")
    minorNumber = find("nvmlDeviceGetMinorNumber")
    memory = find("nvmlDeviceGetMemoryInfo")
    memoryV2 = find("nvmlDeviceGetMemoryInfo_v2")
    utilisation = find("nvmlDeviceGetUtilizationRates")
    temperature = find("nvmlDeviceGetTemperature")
    pciInfo = find("nvmlDeviceGetPciInfo_v3")
  }

  func problem(_ code: cnvml_return, in call: String, gpu: String? = nil) -> InventoryProblem {
    let text = errorString?(code).map { String(cString: $0) } ?? "failed"
    return InventoryProblem(gpu: gpu, subject: call, code: code, text: text)
  }
}
