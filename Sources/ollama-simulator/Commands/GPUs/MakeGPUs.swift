import ArgumentParser
import Glibc

struct MakeGPUs: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "make", abstract: "Make a folder with simulated GPUs.",
    discussion: """
      Without --nodes they have no device nodes, so nothing is pinned by the kernel. For a pool that is installed the \
      folder must be where its units can see it: below /var/lib or /opt, say, and neither in /tmp nor in a home.
      """)

  @OptionGroup var place: GPUs.Folder
  @Option(help: "How many GPUs there are: 1 to 64.") var count = 4
  @Option(help: "Memory of each, such as 80GiB.") var memory = ByteAmount(bytes: 80 << 30)
  @Option(help: "What they are called.") var name = "Simulated H100"
  @Option(
    help: ArgumentHelp(
      "Divide a GPU into MIG slices of these sizes; may be given for several.", valueName: "gpu=size,size..."))
  var mig: [String] = []

  @Flag(
    help: """
      They have the nodes /dev/nvidia0 and so on, with /dev/nvidiactl and /dev/nvidia-uvm, but for those with slices. \
      Where the machine lacks them, nothing is started there.
      """)
  var nodes = false

  func validate() throws {
    guard (1...64).contains(count) else { throw ValidationError("--count \(count): expected a number from 1 to 64") }
    guard !name.isEmpty, !name.contains(where: { $0.isNewline || $0 == "_" }), name.utf8.count < 96 else {
      throw ValidationError("--name: expected at most 95 bytes on one line, without _")
    }
    _ = try slices()
  }

  func run() throws {
    let slices = try slices()
    try SmallFile.makeFolder(place.folder)
    let folder = try place.realPath()
    guard access(NVMLState.path(in: folder), F_OK) != 0 else {
      throw SimulatorError(
        "there are simulated GPUs in \(folder) already: choose another folder, or remove \(NVMLState.path(in: folder))")
    }
    try SimulatedLibrary.shipped().install(in: folder)
    try NVMLState(text: text(slices)).write(in: folder)
    print(
      """
      \(folder) has \(count == 1 ? "a GPU" : "\(count) GPUs") of \(memory) now. A pool that sees them:
        LD_LIBRARY_PATH=\(folder) OLLAMA_SIMULATOR_GPUS=\(folder) ollama-pool serve --state \(folder)/state
      One that breaks, and is whole again:
        ollama-simulator gpus fault \(folder) gpu0 lost
        ollama-simulator gpus clear \(folder)
      """)
  }

  /// By GPU.
  private func slices() throws -> [Int: [ByteAmount]] {
    var slices: [Int: [ByteAmount]] = [:]
    for option in mig {
      let parts = option.split(separator: "=", omittingEmptySubsequences: false)
      let sizes = parts.last?.split(separator: ",", omittingEmptySubsequences: false).map { ByteAmount(String($0)) }
      guard parts.count == 2, parts[0].hasPrefix("gpu"), let gpu = Int(parts[0].dropFirst(3)),
        (0..<count).contains(gpu),
        let sizes, sizes.count <= 7, sizes.allSatisfy({ $0 != nil })
      else {
        throw ValidationError(
          "--mig \(option): expected a GPU that there is, and at most seven sizes, such as gpu1=10GiB,20GiB")
      }
      slices[gpu] = sizes.compactMap(\.self)
    }
    return slices
  }

  private func text(_ slices: [Int: [ByteAmount]]) -> String {
    // A PCI domain that no machine has: of the slots of a real one, something else would be said.
    let domain = "0000ffff"
    let gpuName = name.replacing(" ", with: "_")
    var lines = [
      "# Simulated GPUs: read again at each change. `_` is a space, and gpu=1 is the second line `gpu`. Such a line also",
      "# takes minor=1 (it has the node /dev/nvidia1), used=1GiB, util=90 (percent), temp=70. Lines that begin with",
      "# `fail`, `missing`, `xid`, `ecc`, `hang` or `lingers` say what is wrong: see `ollama-simulator gpus fault --help`.",
      "driver 550.54.15",
    ]
    for gpu in 0..<count {
      lines.append(
        "gpu uuid=GPU-00000000-0000-4000-8000-\(Self.padded(gpu, 12)) name=\(gpuName) "
          + "bus=\(domain):\(Self.padded(gpu + 1, 2)):00.0 total=\(memory)"
          + (slices[gpu] != nil ? " mig=1" : nodes ? " minor=\(gpu)" : ""))
    }
    for (gpu, sizes) in slices.sorted(by: { $0.key < $1.key }) {
      for (index, size) in sizes.enumerated() {
        lines.append(
          "mig gpu=\(gpu) index=\(index) uuid=MIG-\(Self.padded(gpu, 8))-0000-4000-8000-\(Self.padded(index + 1, 12)) "
            + "name=\(gpuName)_MIG total=\(size) gi=\(index + 1) ci=0")
      }
    }
    return lines.map { $0 + "\n" }.joined()
  }

  private static func padded(_ number: Int, _ width: Int) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}
