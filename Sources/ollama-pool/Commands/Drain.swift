import ArgumentParser
import ControlInterface
import Glibc
import Varlink

struct Drain: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Stop an instance once it has served what it has, and keep it stopped.",
    discussion: """
      Its GPU is cordoned, and with it every placement that uses it: `ollama-pool uncordon ID` takes that back. Nothing \
      waits for it here: watch it with `ollama-pool status --watch`.

      For example, before taking a GPU out: ollama-pool drain gpu2 --timeout 10m
      """)

  @OptionGroup var control: ControlOptions
  @OptionGroup var order: InstanceOrder

  func run() async throws {
    let parameters = try order.parameters
    let supervisor = try await control.connect(to: .supervisor)
    let _: NoParameters = try await supervisor.call(.drainInstance, parameters)
    Output.say("\(order.id) drains\(order.limitText). Bring it back with: ollama-pool uncordon \(order.id)")
  }
}

/// What `drain` and `restart` are told.
struct InstanceOrder: ParsableArguments {
  @Argument(help: "The instance, as `ollama-pool status` shows it: gpu0.") var id: String

  @Option(
    help: ArgumentHelp(
      "Stop it after this time, as 30s or 10m, although it still serves; without it never.", valueName: "duration"))
  var timeout: DurationArgument?

  var parameters: SupervisorCalls.InstanceOrder {
    get throws(CommandFailure) {
      if let timeout, timeout.seconds > SupervisorCalls.InstanceOrder.longestTimeout {
        throw CommandFailure(
          "--timeout \(timeout.text) is too long: give at most 720h, or leave it out to wait for ever",
          status: EX_USAGE)
      }
      return SupervisorCalls.InstanceOrder(id: id, timeoutSeconds: timeout?.seconds)
    }
  }

  var limitText: String { timeout.map { ", and is stopped after \($0.text) at the latest" } ?? "" }
}
