import ArgumentParser
import Glibc

struct GPUs: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gpus", abstract: "Make GPUs that don't exist, and break them.",
    discussion: """
      A folder with a text file, \(NVMLState.name), that says which GPUs there are, and a library that shows them to \
      whoever opens NVIDIA's: a pool that is started with LD_LIBRARY_PATH=FOLDER. The models that `ollama-simulator \
      serve` has loaded hold memory on them where OLLAMA_SIMULATOR_GPUS=FOLDER is set. The file can be edited, too; \
      what it says counts at once.

      For example:
        ollama-simulator gpus make /tmp/gpus
        LD_LIBRARY_PATH=/tmp/gpus OLLAMA_SIMULATOR_GPUS=/tmp/gpus ollama-pool serve --state /tmp/gpus/state
        ollama-pool gpus --watch                         # in another terminal
        ollama-simulator gpus fault /tmp/gpus gpu1 lost  # in a third one
        ollama-simulator gpus clear /tmp/gpus
      """,
    subcommands: [MakeGPUs.self, FaultGPU.self, ClearGPUs.self, OccupyGPU.self])

  /// The folder that a command names.
  struct Folder: ParsableArguments {
    @Argument(help: "The folder of the simulated GPUs.") var folder: String

    /// What programs and the library call it, too.
    func realPath() throws(SimulatorError) -> String { try RealFolder.path(folder) }
  }
}

enum RealFolder {
  static func path(_ folder: String) throws(SimulatorError) -> String {
    guard let path = realpath(folder, nil) else { throw SimulatorError(call: folder, errno: errno) }
    defer { free(path) }
    return String(cString: path)
  }
}
