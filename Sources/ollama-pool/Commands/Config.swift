import ArgumentParser
import PoolConfiguration

struct Config: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check the configuration files, or show what they say.",
    discussion: """
      For example, before a reload:
        ollama-pool config check && systemctl reload ollama-pool-dispatcher ollama-pool-supervisor
      """,
    subcommands: [Check.self, Show.self])

  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check the configuration; status 78 with FILE:LINE:COLUMN for all that is wrong.",
      discussion: "For example: ollama-pool config check --config ./ollama-pool.yaml")

    @OptionGroup var configuration: ConfigurationOptions
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
      let files: [String]
      do throws(ConfigurationError) {
        files = try configuration.read().files
      } catch {
        guard json else { throw error }
        try Output.say(json: Report(error))
        throw ExitCode(CommandFailure.wrongConfiguration)
      }
      if json { return try Output.say(json: Report(files: files)) }
      Output.say(
        files.isEmpty
          ? "There is no \(ConfigurationReader.defaultPath): the defaults hold."
          : "All is right in \(files.joined(separator: ", ")).")
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show what the files say, with all defaults filled in, and where each value comes from.",
      discussion: """
        What it prints is a configuration itself. Daemons that run go by what they read at their last start or reload.

        For example: ollama-pool config show --json | jq .scaling
        """)

    @OptionGroup var configuration: ConfigurationOptions
    @Flag(help: "Print JSON, which is a configuration too.") var json = false

    func run() throws {
      let loaded = try configuration.read()
      if json { return try Output.say(json: loaded.settings) }
      Output.say(String(SettingsDescription.render(loaded).dropLast()))
    }
  }

  /// What `config check --json` prints.
  private struct Report: Encodable {
    struct Problem: Encodable {
      @OrNull var file: String?
      @OrNull var line: Int?
      @OrNull var column: Int?
      var key: String
      var what: String
      var expected: String

      init(_ problem: ConfigurationProblem) {
        file = problem.position?.file
        if let place = problem.position, place.line > 0 {
          line = place.line
          column = place.column
        }
        key = problem.key
        what = problem.what
        expected = problem.expected
      }
    }

    var valid: Bool
    var files: [String]
    var problems: [Problem]
    /// Problems beyond those listed.
    var omitted: Int

    init(files: [String]) {
      valid = true
      self.files = files
      problems = []
      omitted = 0
    }

    init(_ error: ConfigurationError) {
      valid = false
      files = []
      problems = error.problems.map(Problem.init)
      omitted = error.omitted
    }
  }
}
