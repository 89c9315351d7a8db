import ArgumentParser
import ControlInterface
import Varlink

struct Uncordon: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Take a cordon back, or a drain: instances may start on the GPU again, and what still runs goes on.",
    discussion: "For example: ollama-pool uncordon gpu3")

  @OptionGroup var control: ControlOptions
  @Argument(help: "The GPU: its UUID, or the name of its placement, gpu3.") var gpu: String

  func run() async throws {
    let supervisor = try await control.connect(to: .supervisor)
    let _: NoParameters = try await supervisor.call(.uncordonGPU, SupervisorCalls.UncordonGPU(gpu: gpu))
    Output.say("Instances may start on \(gpu) again.")
  }
}
