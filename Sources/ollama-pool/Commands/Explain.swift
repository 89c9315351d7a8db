import ArgumentParser
import ControlInterface

struct Explain: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say why the pool did what it did: the supervisor's last decisions, newest last.",
    discussion: """
      Each with what it was made from. The whole story is in the journal: ollama-pool logs

      For example, the last ones: ollama-pool explain | tail
      """)

  @OptionGroup var control: ControlOptions
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    let supervisor = try await control.connect(to: .supervisor)
    let reply = try await supervisor.call(SupervisorInterface.Method.explain, as: SupervisorCalls.ExplainReply.self)
    if json { return try Output.say(json: reply.decisions) }
    if reply.decisions.isEmpty { return Output.say("Nothing has been decided yet.") }
    var table = Table([.number("AGO"), "DECISION", "BECAUSE"])
    table.rows = reply.decisions.map {
      [Table.Cell(Quantity.duration(seconds: $0.secondsAgo)), Table.Cell($0.what), Table.Cell($0.why)]
    }
    Output.say(table.text(on: .current))
  }
}
