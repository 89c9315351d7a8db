import ArgumentParser
import ControlInterface
import Glibc
import Varlink

struct Cordon: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Start nothing more on a GPU; what runs there goes on.",
    discussion: """
      It outlives restarts, and ends with --for or with `ollama-pool uncordon`. To stop what runs there too: ollama-pool drain.

      For example: ollama-pool cordon gpu3 --for 8h --reason training
      """)

  @OptionGroup var control: ControlOptions
  @Argument(help: "The GPU: its UUID, or the name of its placement, gpu3.") var gpu: String
  @Option(help: "Why, for those who see it in `status` and `gpus`.") var reason = ""
  @Option(
    name: .customLong("for"),
    help: ArgumentHelp("For how long, as 30m or 8h; without it until it is taken back.", valueName: "duration"))
  var limit: DurationArgument?

  private func checkUsage() throws(CommandFailure) {
    let most = SupervisorCalls.CordonGPU.longestReason
    guard reason.utf8.count <= most else {
      throw CommandFailure(
        "--reason has \(reason.utf8.count) bytes, and \(most) is the most: say it in fewer words", status: EX_USAGE)
    }
    if let limit, limit.seconds > SupervisorCalls.CordonGPU.longest {
      throw CommandFailure("--for \(limit.text) is too long: give at most 720h", status: EX_USAGE)
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
      .cordonGPU, SupervisorCalls.CordonGPU(gpu: gpu, reason: reason, forSeconds: limit?.seconds))
    let end = limit.map { " for \($0.text)" } ?? ""
    Output.say("Nothing more is started on \(gpu)\(end). Take it back with: ollama-pool uncordon \(gpu)")
  }
}
