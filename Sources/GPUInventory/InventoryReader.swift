import CNVML
import Glibc
import Synchronization

/// Reads the GPUs. Holds NVML open between readings, so that each costs microseconds.
///
/// NVML may block for seconds while a GPU fails: not to be called on an event loop.
package final class InventoryReader: Sendable {
  private struct State {
    var library: NVMLLibrary?
    var session: NVMLSession?
  }

  private let libraryPath: String
  private let kernelDriver: String
  private let state = Mutex(State())

  /// - Parameters:
  ///   - nvmlLibrary: a path, or a name for the dynamic linker to find.
  ///   - kernelDriver: a file that exists while NVIDIA's kernel module is loaded.
  package init(
    nvmlLibrary: String = "libnvidia-ml.so.1", kernelDriver: String = "/proc/driver/nvidia/version"
  ) {
    libraryPath = nvmlLibrary
    self.kernelDriver = kernelDriver
  }

  package func read(_ source: GPUSource) -> Inventory {
    switch source {
    case .cpu: Inventory(source: .cpu)
    case .automatic: readAutomatic()
    case .configured(let gpus): readConfigured(gpus)
    }
  }

  /// An absent driver means the CPU. A driver that is there and fails doesn't: a pool that quietly computes on the CPU
  /// beside idle GPUs is worse than one that says why it can't start.
  private func readAutomatic() -> Inventory {
    switch readNVML() {
    case .success(let (gpus, problems)):
      Inventory(source: gpus.isEmpty && problems.isEmpty ? .cpu : .nvml, gpus: gpus, problems: problems)
    case .failure(.noDriver(let problem)): Inventory(source: .cpu, problems: [problem])
    case .failure(.broken(let problem)): Inventory(source: .nvml, problems: [problem])
    }
  }

  private func readConfigured(_ configured: [ConfiguredGPU]) -> Inventory {
    var found: [String: GPU] = [:]
    var problems: [InventoryProblem] = []
    var nvmlAnswers = false
    switch GPUSource.configured(configured).asksDriver ? readNVML() : .success((gpus: [], problems: [])) {
    case .success(let reading):
      nvmlAnswers = true
      problems = reading.problems.filter { problem in configured.contains { $0.uuid == problem.gpu } }
      for gpu in reading.gpus { found[gpu.uuid] = gpu }
    case .failure(.broken(let problem)): problems = [problem]
    // Without a driver the list is all there is to know.
    case .failure(.noDriver): break
    }
    let gpus = configured.enumerated().map { index, entry in
      var gpu = found[entry.uuid] ?? GPU(index: index, uuid: entry.uuid, vendor: entry.vendor)
      if found[entry.uuid] == nil, nvmlAnswers, entry.vendor == .nvidia {
        problems.append(InventoryProblem(gpu: entry.uuid, subject: "gpus", text: "NVML knows no such GPU"))
      }
      gpu.index = index
      gpu.vendor = entry.vendor
      gpu.name = entry.name ?? gpu.name
      gpu.memoryTotal = entry.memory ?? gpu.memoryTotal
      gpu.pciAddress = entry.pciAddress ?? gpu.pciAddress
      if !entry.deviceNodes.isEmpty { gpu.deviceNodes = entry.vendor.completed(entry.deviceNodes) }
      return gpu
    }
    return Inventory(source: .configured, gpus: gpus, problems: problems)
  }

  private enum Failure: Error {
    case noDriver(InventoryProblem)
    case broken(InventoryProblem)
  }

  private func readNVML() -> Result<(gpus: [GPU], problems: [InventoryProblem]), Failure> {
    state.withLock { state in
      do throws(Failure) {
        return .success(try read(&state))
      } catch {
        return .failure(error)
      }
    }
  }

  /// Opens NVML where that was not done or was of no avail; so a driver that comes later is found.
  private func read(_ state: inout State) throws(Failure) -> (gpus: [GPU], problems: [InventoryProblem]) {
    if let session = state.session {
      // A session fails after a driver's reload: then a new one is opened.
      do throws(InventoryProblem) { return try session.read() } catch { state.session = nil }
    }
    do throws(InventoryProblem) {
      let library = try openLibrary(&state)
      let session = try NVMLSession(library)
      state.session = session
      return try session.read()
    } catch {
      state.session = nil
      throw meansNoDriver(error) ? .noDriver(error) : .broken(error)
    }
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
