import ArgumentParser
import ControlInterface
import Glibc
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

  private func checkUsage() throws(CommandFailure) {
    let most = SupervisorCalls.CordonGPU.longestReason
    guard reason.utf8.count <= most else {
      throw CommandFailure(
        "--reason has \(reason.utf8.count) bytes, and \(most) is the most: say it in fewer words", status: EX_USAGE)
    }
    guard !reason.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
      throw CommandFailure(
        "--reason has a line break or another control character: give one line of text", status: EX_USAGE)
    }
  }

  func run() async throws {
    try checkUsage()
    let supervisor = try await control.connect(to: .supervisor)
    let _: NoParameters = try await supervisor.call(
      .cordonGPU, SupervisorCalls.CordonGPU(gpu: gpu, reason: reason))
    Output.say("Nothing more is started on \(gpu). Take it back with: ollama-pool uncordon \(gpu)")
  }
}
