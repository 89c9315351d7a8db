import ArgumentParser
import ControlInterface
import Varlink

struct Restart: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Start an instance anew once it has served what it has.",
    discussion: """
      Refused where it could not be started again, such as on a cordoned GPU.

      For example: ollama-pool restart gpu0
      The daemons themselves are restarted by systemd: systemctl restart ollama-pool-supervisor
      """)

  @OptionGroup var control: ControlOptions
  @OptionGroup var order: InstanceOrder

  func run() async throws {
    let parameters = try order.parameters
    let supervisor = try await control.connect(to: .supervisor)
    let _: NoParameters = try await supervisor.call(.restartInstance, parameters)
    Output.say("\(order.id) restarts once it is idle\(order.limitText).")
  }
}
