import ArgumentParser
import ControlInterface
import Glibc
import Varlink

struct Scale: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Change how many instances run, until it is taken back.",
    discussion: """
      Within these bounds the load decides. They win over the configuration, outlive restarts, and end with --for or \
      with `ollama-pool scale reset`. No running request is cut. Models whose placements are reserved wait for as long \
      as --max leaves none of these running.

      For example: ollama-pool scale --min 2 --for 2h
      """,
    subcommands: [Reset.self])

  @OptionGroup var control: ControlOptions
  @Option(help: "Instances that run at least.") var min: Int?
  @Option(help: "Instances that run at most.") var max: Int?
  @Option(help: "Instances that run, whatever the load; stands for --min and --max.") var fixed: Int?
  @Option(
    name: .customLong("for"),
    help: ArgumentHelp("For how long, as 30m or 2h; without it until it is reset.", valueName: "duration"))
  var limit: DurationArgument?

  // Not in validate(), which `scale reset` would have to pass too.
  private func checkUsage() throws(CommandFailure) {
    guard min != nil || max != nil || fixed != nil else {
      throw CommandFailure(
        "say what to change: --min, --max or --fixed (see `ollama-pool scale --help`)", status: EX_USAGE)
    }
    guard fixed == nil || (min == nil && max == nil) else {
      throw CommandFailure("--fixed stands for both bounds: leave out --min and --max", status: EX_USAGE)
    }
    for (name, value) in [("--min", min), ("--max", max), ("--fixed", fixed)] where value.map({ $0 < 0 }) ?? false {
      throw CommandFailure("\(name) is a number of instances: it is not negative", status: EX_USAGE)
    }
  }

  func run() async throws {
    try checkUsage()
    let supervisor = try await control.connect(to: .supervisor)
    let scale = SupervisorCalls.SetScale(min: min, max: max, fixed: fixed, forSeconds: limit?.seconds)
    let _: NoParameters = try await supervisor.call(.setScale, scale)
    let bounds = [
      fixed.map { "exactly \($0)" }, min.map { "at least \($0)" }, max.map { "at most \($0)" },
    ].compactMap { $0 }.joined(separator: " and ")
    let end = limit.map { "for \($0.text)" } ?? "until `ollama-pool scale reset`"
    Output.say("Instances: \(bounds), \(end).")
    guard let least = fixed ?? min else { return }
    let reply = try await supervisor.call(SupervisorInterface.Method.getStatus, as: SupervisorCalls.StatusReply.self)
    let places = reply.status.instances.count { $0.state != .cordoned }
    if least > places { Output.say("So many can't run at present: there are placements for \(places).") }
  }

  struct Reset: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Go back to the configured bounds.", discussion: "For example: ollama-pool scale reset")

    @OptionGroup var control: ControlOptions

    func run() async throws {
      let supervisor = try await control.connect(to: .supervisor)
      let _: NoParameters = try await supervisor.call(.setScale, SupervisorCalls.SetScale())
      Output.say("Instances: as configured.")
    }
  }
}
