import ArgumentParser
import Glibc
import PoolCore

struct OccupyGPU: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "occupy", abstract: "Hold memory of a simulated GPU, as somebody else's program does.",
    discussion: """
      Until Ctrl-C, or until it is ended otherwise.

      For example: ollama-simulator gpus occupy /tmp/gpus gpu1 40GiB
      """)

  @OptionGroup var place: GPUs.Folder
  @Argument(help: "The GPU or slice: gpu1, gpu1.2, or its UUID.") var gpu: String
  @Argument(help: "How much, such as 40GiB.") var memory: ByteAmount
  @OptionGroup var held: HeldMemory.Options

  func run() throws {
    // What it holds stands in its command line, so it begins anew with that.
    guard held.holds.isEmpty else {
      print("Process \(getpid()) holds \(byteText(memory.bytes)) of \(gpu) until Ctrl-C.")
      fflush(nil)
      while true { pause() }
    }
    let folder = try place.realPath()
    let state = try NVMLState.read(in: folder)
    let device = try state.device(gpu)
    let free = device.total - device.used - HeldMemory.now(in: folder)[device.uuid, default: 0]
    guard memory.bytes <= free, !state.isLost(device.uuid) else {
      throw SimulatorError(
        state.isLost(device.uuid)
          ? "\(device.label) is lost" : "out of memory: \(byteText(max(0, free))) of \(device.label) are free")
    }
    let share = HeldMemory.Share(uuid: device.uuid, bytes: memory.bytes)
    try Executable.become(
      ["ollama-simulator", "gpus", "occupy", place.folder, gpu, "\(memory.bytes)"]
        + HeldMemory.arguments([share], in: folder))
  }
}
