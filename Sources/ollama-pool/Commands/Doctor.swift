import ArgumentParser

struct Doctor: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Look for what keeps the pool from working, and say what to do about it.",
    discussion: """
      Looks at the configuration, systemd and its bus, users and rights, Ollama and the model store, the GPUs' drivers, \
      their device nodes and MIG mode, what would run where and how it is pinned, variables that go against the pins, \
      who else is on the GPUs, an Ollama service beside the pool, control sockets and ports. Changes nothing. As root \
      it sees more. Status 1 if there is a problem.

      --import prints a configuration with the settings of Ollama's own service, and which model store the pool would \
      take over, to start from. Status 1 if there is no such service.

      For example: sudo ollama-pool doctor
        ollama-pool doctor --import > ollama-pool.yaml && ollama-pool config check --config ollama-pool.yaml
      """)

  private struct Report: Encodable {
    let problems: Int
    let warnings: Int
    let findings: [Finding]
  }

  @OptionGroup var control: ControlOptions
  @OptionGroup var configuration: ConfigurationOptions
  @Flag(help: "Print JSON.") var json = false
  @Flag(
    name: .customLong("import"),
    help: "Print what the pool would take over from ollama.service, as a configuration, and look at nothing else.")
  var isImport = false

  func validate() throws {
    if isImport, json { throw ValidationError("--import prints a configuration, which is no JSON: leave out --json") }
  }

  func run() async throws {
    if isImport { return Output.say(String(try await OllamaServiceImport.read().text.dropLast())) }
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
