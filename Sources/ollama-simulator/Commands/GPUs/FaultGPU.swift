import ArgumentParser

struct FaultGPU: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fault", abstract: "Break a simulated GPU, or the driver.",
    discussion: """
      \(SimulatedFault.help)

      It stays so until `ollama-simulator gpus clear`. What an instance itself does wrong is among the faults of \
      `ollama-simulator serve --help`, such as cpu-fallback.

      For example: ollama-simulator gpus fault /tmp/gpus gpu1 xid 79
      """)

  @OptionGroup var place: GPUs.Folder
  @Argument(help: "The GPU or slice: gpu1, gpu1.2, or its UUID; or: driver.") var gpu: String
  @Argument(help: ArgumentHelp("What is wrong with it, see above.", valueName: "fault")) var words: [String]

  func run() throws {
    let folder = try place.realPath()
    var state = try NVMLState.read(in: folder)
    let device = gpu == "driver" ? nil : try state.device(gpu)
    if device == nil, words == ["garbage"] {
      try SimulatedLibrary.spoil(in: folder)
      return print("\(folder)/\(SimulatedLibrary.name) is no library now.")
    }
    // Later events have higher numbers, also than those that were cleared.
    let line = try SimulatedFault.line(words, on: device, sequence: WallTime.now.milliseconds, library: .shipped())
    state.add(line)
    try state.write(in: folder)
    print("\(NVMLState.path(in: folder)) has the line `\(line)` now.")
  }
}
