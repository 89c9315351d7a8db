import CNVML
import Glibc
import Synchronization

/// Reads the GPUs. Holds NVML open between readings, so that each costs microseconds; opens it anew after the driver
/// was loaded anew, and for a GPU that was plugged in.
///
/// A driver may block for seconds while a GPU fails: not to be called on an event loop.
package final class InventoryReader: Sendable {
  private struct State {
    var library: NVMLLibrary?
    var session: NVMLSession?
    var met = MetGPUs()
    var plugged = PluggedGPUs()
    var amd: AMDReader
    var slots: PCIDevices
  }

  private let libraryPath: String
  private let kernelDriver: String
  private let files: FileSystem
  private let state: Mutex<State>

  /// - Parameters:
  ///   - nvmlLibrary: a path, or a name for the dynamic linker to find.
  ///   - kernelDriver: a file that exists while NVIDIA's kernel module is loaded.
  ///   - root: the folder that stands for `/` where sysfs and procfs are read.
  package init(
    nvmlLibrary: String = "libnvidia-ml.so.1", kernelDriver: String = "/proc/driver/nvidia/version",
    root: String = "/"
  ) {
    libraryPath = nvmlLibrary
    self.kernelDriver = kernelDriver
    let files = FileSystem(root: root)
    self.files = files
    state = Mutex(State(amd: AMDReader(files), slots: PCIDevices(files)))
  }

  package func read(_ source: GPUSource) -> Inventory {
    switch source {
    case .cpu: Inventory(source: .cpu)
    case .automatic: readAutomatic()
    case .configured(let gpus): readConfigured(gpus)
    }
  }

  /// Without any driver the CPU is used. A driver that is there and fails doesn't mean the CPU: a pool that quietly
  /// computes on it beside idle GPUs is worse than one that says why it can't start.
  private func readAutomatic() -> Inventory {
    let amd = state.withLock { $0.amd.read() }
    let (worthy, others) = (amd.gpus.filter(\.isWorthAnInstance), amd.gpus.filter { !$0.isWorthAnInstance })
    var inventory = Inventory(
      source: .drivers, gpus: worthy,
      problems: amd.problems.filter { problem in !others.contains { $0.uuid == problem.gpu } })
    switch readNVML() {
    case .success(let nvidia):
      inventory.gpus = (nvidia.gpus + inventory.gpus).inPCIOrder()
      inventory.problems = nvidia.problems + inventory.problems
      inventory.driverVersion = nvidia.driverVersion
    case .failure(.broken(let problem)):
      inventory.gpus = inventory.gpus.inPCIOrder()
      inventory.problems.insert(problem, at: 0)
    case .failure(.noDriver(let problem)):
      if inventory.gpus.isEmpty, inventory.problems.isEmpty { return Inventory(source: .cpu, problems: [problem]) }
      inventory.gpus = inventory.gpus.inPCIOrder()
    }
    if inventory.gpus.isEmpty, inventory.problems.isEmpty { inventory.source = .cpu }
    return inventory
  }

  private func readConfigured(_ configured: [ConfiguredGPU]) -> Inventory {
    var inventory = Inventory(source: .configured)
    var found: [String: GPU] = [:]
    var problems: [InventoryProblem] = []
    // Without a driver the list is all there is to know.
    var answering: Set<GPU.Vendor> = []
    var failures: [GPU.Vendor: InventoryProblem] = [:]
    if configured.contains(where: { $0.vendor == .nvidia }) {
      switch readNVML() {
      case .success(let reading):
        answering.insert(.nvidia)
        problems += reading.problems
        inventory.driverVersion = reading.driverVersion
        for gpu in reading.gpus { found[gpu.uuid] = gpu }
      case .failure(.broken(let problem)):
        failures[.nvidia] = problem
      case .failure(.noDriver): break
      }
    }
    if configured.contains(where: { $0.vendor == .amd }) {
      let reading = state.withLock { $0.amd.read() }
      if reading.gpus.isEmpty { failures[.amd] = reading.problems.first } else { answering.insert(.amd) }
      // Whichever node it was: none of them tells of a GPU.
      failures[.amd]?.gpu = nil
      problems += reading.problems
      for gpu in reading.gpus where found[gpu.uuid] == nil { found[gpu.uuid] = gpu }
    }
    inventory.problems = [GPU.Vendor.nvidia, .amd].compactMap { failures[$0] }
    inventory.problems += problems.filter { problem in configured.contains { $0.uuid == problem.gpu } }
    // Which GPU it was that told nothing of itself is not known: it may be any that was not found.
    let unidentified = Inventory(source: .drivers, gpus: Array(found.values), problems: problems).incompleteness
    for (index, entry) in configured.enumerated() {
      let read = found[entry.uuid].flatMap { $0.vendor == entry.vendor ? $0 : nil }
      if read == nil, answering.contains(entry.vendor) {
        let driver = entry.vendor == .nvidia ? "NVML" : "AMD's driver"
        inventory.problems.append(
          unidentified.map { $0.repeated(about: entry.uuid, .silent) }
            ?? .unknownGPU(entry.uuid, "\(driver) knows no such GPU"))
      }
      // What has been told of it holds; and where a driver says that it can't work, or has told of this GPU before, it
      // is not used as if there were no driver to ask. Without a library to ask it is, by what the list says of it.
      let met = entry.vendor == .nvidia ? state.withLock { $0.met[entry.uuid] } : nil
      if read == nil, let failure = failures[entry.vendor] {
        let isSilent = met != nil || failure.code != nil
        inventory.problems.append(failure.repeated(about: entry.uuid, isSilent ? .silent : .partial))
      }
      var gpu = read ?? met ?? GPU(index: index, uuid: entry.uuid, vendor: entry.vendor)
      gpu.index = index
      gpu.name = entry.name ?? gpu.name
      gpu.memoryTotal = entry.memory ?? gpu.memoryTotal
      gpu.pciAddress = entry.pciAddress ?? gpu.pciAddress
      if !entry.deviceNodes.isEmpty { gpu.deviceNodes = entry.vendor.completed(entry.deviceNodes) }
      if read == nil || entry.pciAddress != nil {
        let nonsense = state.withLock { $0.slots.describe(&gpu) }
        inventory.problems += nonsense.filter { !inventory.problems.contains($0) }
      }
      inventory.gpus.append(gpu)
    }
    return inventory
  }

  private enum Failure: Error {
    case noDriver(InventoryProblem)
    case broken(InventoryProblem)
  }

  private typealias NVMLReading = (gpus: [GPU], problems: [InventoryProblem], driverVersion: String?)

  private func readNVML() -> Result<NVMLReading, Failure> {
    state.withLock { state in
      do throws(Failure) {
        return .success(try read(&state))
      } catch {
        return .failure(error)
      }
    }
  }

  /// Opens NVML where that was not done or was of no avail; so a driver that comes later is found.
  private func read(_ state: inout State) throws(Failure) -> NVMLReading {
    if state.library?.canBeRecounted == true { state.session = nil }
    if let session = state.session {
      // A session fails after a driver's reload: then a new one is opened.
      do throws(InventoryProblem) { return try read(session, &state) } catch { state.session = nil }
    }
    do throws(InventoryProblem) {
      let library = try openLibrary(&state)
      let session = try NVMLSession(library, files, met: state.met)
      state.session = session
      return try read(session, &state)
    } catch {
      state.session = nil
      // A driver that has told of GPUs and is not loaded is one that went away.
      throw meansNoDriver(error) && state.met.gpus.isEmpty ? .noDriver(error) : .broken(error)
    }
  }

  private func read(_ session: NVMLSession, _ state: inout State) throws(InventoryProblem) -> NVMLReading {
    let (gpus, problems) = try session.read()
    state.met = session.met
    if state.plugged.areWorthARecount((gpus, problems), files, at: .now) { state.library?.awaitRecount() }
    return (gpus, problems, session.driverVersion)
  }

  private func openLibrary(_ state: inout State) throws(InventoryProblem) -> NVMLLibrary {
    if let library = state.library { return library }
    let library = try NVMLLibrary(path: libraryPath)
    state.library = library
    return library
  }

  /// A library that can't be used is a fault only where the kernel's driver shows that there are GPUs.
  private func meansNoDriver(_ problem: InventoryProblem) -> Bool {
    guard let code = problem.code.map(Int.init) else { return access(kernelDriver, F_OK) != 0 }
    return code == CNVML_DRIVER_NOT_LOADED
  }
}
