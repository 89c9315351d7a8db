import ArgumentParser

struct ClearGPUs: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clear", abstract: "Make simulated GPUs whole again.",
    discussion: """
      Of a GPU that was quarantined because of an XID error the pool still has to be told: ollama-pool uncordon gpu1
      """)

  @OptionGroup var place: GPUs.Folder
  @Argument(help: "The GPU or slice, such as gpu1; without, all is well again, the driver included.") var gpu: String?

  func run() throws {
    let folder = try place.realPath()
    var state = try NVMLState.read(in: folder)
    state.clear(try gpu.map { name throws(SimulatorError) in try state.device(name) })
    try state.write(in: folder)
    if gpu == nil, SimulatedLibrary.isSpoiled(in: folder) { try SimulatedLibrary.shipped().install(in: folder) }
  }
}
