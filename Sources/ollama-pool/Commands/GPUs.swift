import ArgumentParser
import ControlInterface

struct GPUs: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gpus", abstract: "List the GPUs, what runs on them, and which are cordoned.",
    discussion: """
      As the supervisor sees them: from NVIDIA's driver, or as the configuration lists them.

      For example, for a program: ollama-pool gpus --json
      """)

  @OptionGroup var control: ControlOptions
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    let supervisor = try await control.connect(to: .supervisor)
    let status = try await supervisor.call(
      SupervisorInterface.Method.getStatus, as: SupervisorCalls.StatusReply.self
    ).status
    if json { return try Output.say(json: status.gpus) }
    if status.gpus.isEmpty {
      return Output.say(
        status.inventory == .cpu
          ? "No GPU: one instance runs on the CPU. If there is one, `ollama-pool doctor` says why it is not seen."
          : "No GPU can be used: `ollama-pool status` and `ollama-pool doctor` say why.")
    }
    Output.say(Self.table(status.gpus).text(on: .current))
  }

  static func table(_ gpus: [SupervisorTypes.GPU]) -> Table {
    var table = Table([
      .number("GPU"), "NAME", .number("MEMORY"), .number("USED"), .number("LOAD"), .number("TEMP"), "INSTANCES", "UUID",
      "NOTE",
    ])
    table.rows = gpus.map { gpu in
      let notes = [gpu.problem, gpu.cordon.map { $0.isEmpty ? "cordoned" : "cordoned: \($0)" }].compactMap { $0 }
      return [
        Table.Cell(gpu.number), Table.Cell(gpu.name ?? gpu.vendor),
        Table.Cell(gpu.memoryTotalBytes.map(Quantity.bytes)), Table.Cell(gpu.memoryUsedBytes.map(Quantity.bytes)),
        Table.Cell(gpu.utilisationPercent.map { "\($0) %" }), Table.Cell(gpu.temperatureCelsius.map { "\($0) °C" }),
        Table.Cell(gpu.instances.joined(separator: ",")), Table.Cell(gpu.uuid),
        Table.Cell(notes.joined(separator: "; "), style: gpu.problem != nil ? .bad : .fair),
      ]
    }
    return table
  }
}
