import ArgumentParser

struct Doctor: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Look for what keeps the pool from working, and say what to do about it.",
    discussion: """
      Looks at the configuration, systemd and its bus, Ollama, GPUs and their device nodes, the model store, users and \
      rights, ports, control sockets, and an Ollama service beside the pool. Changes nothing. As root it sees more.

      Status 1 if there is a problem. For example: sudo ollama-pool doctor
      """)

  private struct Report: Encodable {
    let problems: Int
    let warnings: Int
    let findings: [Finding]
  }

  @OptionGroup var control: ControlOptions
  @OptionGroup var configuration: ConfigurationOptions
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    let findings = await Examination(configurationPath: configuration.path, sockets: control.folder).findings()
    let problems = findings.count { $0.status == .problem }
    let warnings = findings.count { $0.status == .warning }
    if json {
      try Output.say(json: Report(problems: problems, warnings: warnings, findings: findings))
    } else {
      Output.say(Self.text(findings, on: .current))
      Output.say(
        problems + warnings == 0
          ? "All is well." : "\(Quantity.count(problems, "problem")), \(Quantity.count(warnings, "warning")).")
    }
    if problems > 0 { throw ExitCode.failure }
  }

  /// A line for each finding, and its remedy below.
  static func text(_ findings: [Finding], on terminal: Terminal) -> String {
    let width = findings.reduce(0) { max($0, $1.check.count) }
    return findings.map { finding in
      let status = finding.status.rawValue
      let style: Table.Style = finding.status == .ok ? .good : finding.status == .warning ? .fair : .bad
      let start = style.applied(to: status, on: terminal) + String(repeating: " ", count: 9 - status.count)
      let check = finding.check + String(repeating: " ", count: width - finding.check.count)
      let remedy =
        finding.remedy.map { "\n" + String(repeating: " ", count: width + 11) + "→ " + Printable.text($0) } ?? ""
      return "\(start)\(check)  \(Printable.text(finding.text))\(remedy)"
    }.joined(separator: "\n")
  }
}
