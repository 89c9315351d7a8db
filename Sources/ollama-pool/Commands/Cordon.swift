import ArgumentParser
import ControlInterface
import Varlink

struct Cordon: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Start nothing more on a GPU; what runs there goes on.",
    discussion: """
      It outlives restarts, until `ollama-pool uncordon`. To stop what runs there too: ollama-pool drain.

      For example: ollama-pool cordon gpu3 --reason "fan is being replaced"
      """)

  @OptionGroup var control: ControlOptions
  @Argument(help: "The GPU: its UUID, or the name of its placement, gpu3.") var gpu: String
  @Option(help: "Why, for those who see it in `status` and `gpus`.") var reason = ""

  func run() async throws {
    let supervisor = try await control.connect(to: .supervisor)
    let _: NoParameters = try await supervisor.call(
      .cordonGPU, SupervisorCalls.CordonGPU(gpu: gpu, reason: reason))
    Output.say("Nothing more is started on \(gpu). Take it back with: ollama-pool uncordon \(gpu)")
  }
}
