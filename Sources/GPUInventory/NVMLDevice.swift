import CNVML

/// What NVML had to say to one question.
enum Answer<Value> {
  case value(Value)
  /// The driver is too old to know, or the GPU has no such thing: no fault.
  case unknown
  case failed(cnvml_return)

  init(_ code: cnvml_return, _ value: @autoclosure () -> Value) {
    switch Int(code) {
    case CNVML_SUCCESS: self = .value(value())
    case CNVML_NOT_SUPPORTED, CNVML_FUNCTION_NOT_FOUND: self = .unknown
    default: self = .failed(code)
    }
  }
}

/// One GPU, or one slice, asked by its handle.
struct NVMLDevice {
  let library: NVMLLibrary
  let handle: cnvml_device

  var uuid: Answer<String> { text(library.uuid) }
  var name: Answer<String> { text(library.name) }
  var minorNumber: Answer<Int> { number { library.minorNumber?(handle, &$0) } }
  var temperature: Answer<Int> { number { library.temperature?(handle, CInt(CNVML_TEMPERATURE_GPU), &$0) } }
  var gpuInstance: Answer<Int> { number { library.gpuInstance?(handle, &$0) } }
  var computeInstance: Answer<Int> { number { library.computeInstance?(handle, &$0) } }
  /// How many slices there is room for.
  var mostSlices: Answer<Int> { number { library.mostSlices?(handle, &$0) } }

  var isDivided: Answer<Bool> {
    var (mode, afterReset): (UInt32, UInt32) = (0, 0)
    guard let code = library.migMode?(handle, &mode, &afterReset) else { return .unknown }
    return Answer(code, mode == CNVML_MIG_ENABLED)
  }

  /// `nil`: a gap.
  func slice(_ index: Int) -> Answer<NVMLDevice?> {
    var slice: cnvml_device?
    guard let code = library.slice?(handle, UInt32(index), &slice) else { return .unknown }
    if code == CNVML_NOT_FOUND { return .value(nil) }
    return Answer(code, slice.map { NVMLDevice(library: library, handle: $0) })
  }

  var computeProcesses: Answer<[NVMLProcesses.Entry]> { NVMLProcesses.read(handle, library.computeProcesses) }
  /// A desktop's, say.
  var graphicsProcesses: Answer<[NVMLProcesses.Entry]> { NVMLProcesses.read(handle, library.graphicsProcesses) }

  var utilisation: Answer<Int> {
    var rates = cnvml_utilization()
    guard let code = library.utilisation?(handle, &rates) else { return .unknown }
    return Answer(code, Int(rates.gpu))
  }

  /// Bytes. What the driver keeps for itself counts as used.
  var memory: Answer<(total: UInt64, used: UInt64)> {
    var memory = cnvml_memory_v2()
    memory.version = UInt32(CNVML_MEMORY_V2)
    if let code = library.memoryV2?(handle, &memory), code != CNVML_FUNCTION_NOT_FOUND {
      return Answer(code, (memory.total, memory.used &+ memory.reserved))
    }
    var older = cnvml_memory()
    guard let code = library.memory?(handle, &older) else { return .unknown }
    return Answer(code, (older.total, older.used))
  }

  /// As sysfs writes it. A GPU is always function 0.
  var pciAddress: Answer<String> {
    var info = cnvml_pci_info()
    guard let code = library.pciInfo?(handle, &info) else { return .unknown }
    return Answer(code, PCIAddress(domain: info.domain, bus: info.bus, device: info.device).description)
  }

  private func text(_ function: cnvml_text_function?) -> Answer<String> {
    nvmlText { function?(handle, $0, $1) }
  }

  private func number(_ call: (inout UInt32) -> cnvml_return?) -> Answer<Int> {
    var number: UInt32 = 0
    guard let code = call(&number) else { return .unknown }
    return Answer(code, Int(number))
  }
}

extension NVMLLibrary {
  var systemDriverVersion: Answer<String> { nvmlText { driverVersion?($0, $1) } }
}

/// - Parameter call: gets a buffer and its size.
private func nvmlText(_ call: (UnsafeMutablePointer<CChar>, UInt32) -> cnvml_return?) -> Answer<String> {
  // NVML asks for at most 96, the longest name.
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: 96) { buffer in
    buffer.initialize(repeating: 0)
    guard let start = buffer.baseAddress, let code = call(start, UInt32(buffer.count)) else { return .unknown }
    return Answer(code, String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
  }
}
