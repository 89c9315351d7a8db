import ArgumentParser
import ControlInterface

struct GPUs: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gpus", abstract: "List the GPUs: their memory, who uses them, and why nothing is started on one.",
    discussion: """
      As the supervisor sees them: from the drivers of NVIDIA and AMD, or as the configuration lists them. Memory is \
      told apart by whose it is: the pool's instances', others', and free.

        free         an instance may be started on it
        ours         an instance of the pool is on it
        busy         programs of others are on it
        divided      it has MIG slices, which follow it
        cordoned     an operator wants nothing started on it
        failed       it can't be used at present
        quarantined  it failed, and is left alone: ollama-pool uncordon tries it again

      For example, for a program: ollama-pool gpus --json
      """)

  @OptionGroup var control: ControlOptions
  @Flag(help: "Print JSON; with --watch one line each time.") var json = false
  @Flag(help: "Go on showing them, each second, until Ctrl-C.") var watch = false

  func run() async throws {
    guard watch else { return try show(try await read(), on: .current) }
    while true {
      do throws(CommandFailure) {
        try show(try await read(), on: .current)
      } catch {
        // It may be back the next time.
        Output.say(shown("Problem   \(error.message)", on: .current))
      }
      try await Task.sleep(for: .seconds(1))
    }
  }

  private func read() async throws(CommandFailure) -> SupervisorTypes.Status {
    let supervisor = try await control.connect(to: .supervisor)
    return try await supervisor.call(SupervisorInterface.Method.getStatus, as: SupervisorCalls.StatusReply.self).status
  }

  private func show(_ status: SupervisorTypes.Status, on terminal: Terminal) throws(CommandFailure) {
    if json { return try Output.say(json: status.gpus, isCompact: watch) }
    Output.say(shown(Self.text(status, on: terminal), on: terminal))
  }

  private func shown(_ text: String, on terminal: Terminal) -> String {
    watch ? (terminal.width == nil ? text + "\n" : Terminal.clearScreen + text) : text
  }

  static func text(_ status: SupervisorTypes.Status, on terminal: Terminal) -> String {
    guard status.gpus.isEmpty else { return table(status.gpus).text(on: terminal) }
    return status.inventory == .cpu
      ? "No GPU: one instance runs on the CPU. If there is one, `ollama-pool doctor` says why it is not seen."
      : "No GPU can be used: `ollama-pool status` and `ollama-pool doctor` say why."
  }

  private static func table(_ gpus: [SupervisorTypes.GPU]) -> Table {
    var table = Table([
      .number("GPU"), "NAME", "STATE", .number("MEMORY"), .number("OURS"), .number("OTHERS"), .number("FREE"),
      .number("LOAD"), .number("TEMP"), "INSTANCES", "UUID", "REASON",
    ])
    table.rows = gpus.map { gpu in
      [
        Table.Cell(gpu.label ?? "\(gpu.number)"), Table.Cell(gpu.name ?? gpu.vendor),
        Table.Cell(gpu.state?.rawValue, style: style(of: gpu.state)), bytes(gpu.memoryTotalBytes),
        bytes(gpu.memoryOursBytes), bytes(gpu.memoryOthersBytes), bytes(gpu.memoryFreeBytes),
        Table.Cell(gpu.utilisationPercent.map { "\($0) %" }), Table.Cell(gpu.temperatureCelsius.map { "\($0) °C" }),
        Table.Cell(gpu.instances.joined(separator: ",")), Table.Cell(gpu.uuid), Table.Cell(reason(gpu)),
      ]
    }
    return table
  }

  private static func bytes(_ count: Int?) -> Table.Cell { Table.Cell(count.map(Quantity.bytes)) }

  private static func reason(_ gpu: SupervisorTypes.GPU) -> String {
    let left = gpu.cordonSecondsLeft.map { "for \(Quantity.duration(seconds: $0)) more" }
    let back = gpu.retryInSeconds.map { "over by now, and used again in \(Quantity.duration(seconds: $0))" }
    let reason = [gpu.reason ?? gpu.cordon, left, back].compactMap(\.self).filter { !$0.isEmpty }
      .joined(separator: ", ")
    let problem = gpu.problem.map { $0.trimmingPrefix("\(gpu.uuid): ") }.map(String.init)
    // Where it has failed, the driver's word says the same and what helps.
    if gpu.state == .failed, let problem { return problem }
    return [reason.isEmpty ? nil : reason, problem].compactMap(\.self).joined(separator: "; ")
  }

  private static func style(of state: SupervisorTypes.GPUState?) -> Table.Style {
    switch state {
    case .ours: .good
    case .busy, .cordoned: .fair
    case .failed, .quarantined: .bad
    case .free, .divided, nil: .plain
    }
  }
}

extension SupervisorTypes.GPU {
  fileprivate var memoryFreeBytes: Int? {
    guard let total = memoryTotalBytes, let used = memoryUsedBytes else { return nil }
    return max(0, total - used)
  }
}
