import Glibc

/// The library that shows simulated GPUs to whoever opens NVIDIA's: built and installed along with this program.
struct SimulatedLibrary {
  /// As programs and the dynamic linker look for NVIDIA's.
  static let name = "libnvidia-ml.so.1"
  private static let shippedName = "libSimulatedNVML.so"

  let path: String

  /// The one that came with this program: beside it where it was built, below lib where it was installed.
  static func shipped() throws(SimulatorError) -> SimulatedLibrary {
    let program = try Executable.path()
    let folder = program.lastIndex(of: "/").map { String(program[..<$0]) } ?? "."
    let places = [folder, folder + "/../lib/ollama-pool"].map { "\($0)/\(shippedName)" }
    guard let path = places.first(where: { access($0, R_OK) == 0 }) else {
      throw SimulatorError(
        "\(shippedName) is neither in \(folder) nor in \(folder)/../lib/ollama-pool: install ollama-pool again")
    }
    return SimulatedLibrary(path: path)
  }

  /// What stands in its place where there is none.
  private static let garbage = Array(
    "This is no library. `ollama-simulator gpus clear` brings the right one back.\n".utf8)

  /// Puts garbage in its place. Who has it open keeps it, since its file is replaced.
  static func spoil(in folder: String) throws(SimulatorError) { try SmallFile.write(garbage, to: folder + "/" + name) }

  static func isSpoiled(in folder: String) -> Bool { SmallFile.read(folder + "/" + name, limit: 4096) == garbage }

  /// Copies it to where it shows the GPUs of `folder`.
  func install(in folder: String) throws(SimulatorError) {
    guard let content = SmallFile.read(path, limit: 16 << 20) else {
      throw SimulatorError(call: "read \(path)", errno: errno)
    }
    try SmallFile.write(content, to: folder + "/" + Self.name)
  }

  /// Whether it has such a function, or the word stands for all.
  func has(_ function: String) throws(SimulatorError) -> Bool {
    guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      throw SimulatorError(dlerror().map { String(cString: $0) } ?? "\(path) can't be loaded")
    }
    defer { dlclose(handle) }
    return function == "any" || function.hasPrefix("nvml") && dlsym(handle, function) != nil
  }
}
