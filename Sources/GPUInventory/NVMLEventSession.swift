import CNVML

/// A set of events of NVML, for one thread.
final class NVMLEventSession {
  /// One that was waited for.
  struct Event {
    /// Of the GPU, also where it is a slice's.
    var uuid: String
    var gpuInstance: Int?
    var computeInstance: Int?
    var kind: GPUEvent.Kind
  }

  private let library: NVMLLibrary
  private let functions: NVMLLibrary.Events
  private let set: cnvml_event_set
  /// What a lost GPU can no longer be asked for.
  private var registered: [cnvml_device: String] = [:]

  init(_ library: NVMLLibrary) throws(InventoryProblem) {
    guard let functions = library.events else {
      throw InventoryProblem(
        subject: library.path, text: "has no functions for events", advice: "install a later driver of NVIDIA's")
    }
    var code = library.open()
    guard code == CNVML_SUCCESS else { throw library.problem(code, in: "nvmlInit_v2") }
    var set: cnvml_event_set?
    code = functions.createSet(&set)
    guard code == CNVML_SUCCESS, let set else {
      library.close()
      throw library.problem(code, in: "nvmlEventSetCreate")
    }
    self.library = library
    self.functions = functions
    self.set = set
  }

  deinit {
    _ = functions.freeSet(set)
    library.close()
  }

  /// Of the GPUs that are registered.
  var uuids: Set<String> { Set(registered.values) }

  /// Adds those GPUs that are not registered yet.
  /// - Returns: why one of them isn't, if so; the others are. One that has no events is no fault, nor is one that has
  ///   gone.
  func register(_ wanted: Set<String>) -> InventoryProblem? {
    var count: UInt32 = 0
    let code = library.count(&count)
    guard code == CNVML_SUCCESS else { return library.problem(code, in: "nvmlDeviceGetCount_v2") }
    var problem: InventoryProblem?
    for index in 0..<min(count, UInt32(NVMLSession.mostGPUs)) {
      var handle: cnvml_device?
      guard library.handleByIndex(index, &handle) == CNVML_SUCCESS, let handle else { continue }
      guard case .value(let uuid) = NVMLDevice(library: library, handle: handle).uuid, wanted.contains(uuid),
        registered[handle] != uuid
      else { continue }
      do throws(InventoryProblem) { try register(handle, uuid) } catch { problem = problem ?? error }
    }
    return problem
  }

  private func register(_ handle: cnvml_device, _ uuid: String) throws(InventoryProblem) {
    var known: UInt64 = 0
    var code = functions.types(handle, &known)
    guard code == CNVML_SUCCESS else {
      if code == CNVML_NOT_SUPPORTED || code == CNVML_GPU_IS_LOST { return }
      throw library.problem(code, in: "nvmlDeviceGetSupportedEventTypes", gpu: uuid)
    }
    // Single-bit errors were corrected, and may come by the thousand.
    let types = known & UInt64(CNVML_EVENT_XID | CNVML_EVENT_DOUBLE_BIT_ECC)
    guard types != 0 else { return }
    code = functions.register(handle, types, set)
    guard code == CNVML_SUCCESS else {
      if code == CNVML_NOT_SUPPORTED || code == CNVML_GPU_IS_LOST { return }
      throw library.problem(code, in: "nvmlDeviceRegisterEvents", gpu: uuid)
    }
    registered[handle] = uuid
  }

  /// The next event; `nil` where none came in time, or one of no interest. Throws where the session is of no more use.
  func wait(_ limit: Duration) throws(InventoryProblem) -> Event? {
    // nvmlEventSetWait without a suffix leaves the last two as they are.
    var event = cnvml_event()
    event.gpu_instance = CNVML_NO_INSTANCE
    event.compute_instance = CNVML_NO_INSTANCE
    let code = functions.wait(set, &event, UInt32(limit / .milliseconds(1)))
    if code == CNVML_TIMEOUT { return nil }
    guard code == CNVML_SUCCESS else { throw library.problem(code, in: "nvmlEventSetWait_v2") }
    guard let device = event.device, let uuid = registered[device] else { return nil }
    let kind: GPUEvent.Kind
    switch Int(clamping: event.type) {
    case CNVML_EVENT_XID: kind = .xid(Int(clamping: event.data))
    case CNVML_EVENT_DOUBLE_BIT_ECC: kind = .doubleBitECC
    default: return nil
    }
    func instance(_ number: UInt32) -> Int? { number == CNVML_NO_INSTANCE ? nil : Int(number) }
    return Event(
      uuid: uuid, gpuInstance: instance(event.gpu_instance), computeInstance: instance(event.compute_instance),
      kind: kind)
  }
}
