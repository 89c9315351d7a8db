import ArgumentParser
import ControlInterface

struct Run: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say how to run a model here: `ollama run` does it, with the pool as its server.",
    usage: "ollama-pool run [--socket <path>] <model> [<argument> ...]",
    discussion: "The pool serves any Ollama client. For example: ollama-pool run llama3.2")

  @OptionGroup var control: ControlOptions
  @Argument(help: "The model.") var model: String
  @Argument(parsing: .captureForPassthrough, help: "Whatever else `ollama run` is to get, options included.")
  var argument: [String] = []

  func run() async throws {
    let host = await endpoint.map { Self.host(of: $0) } ?? "127.0.0.1:11434"
    Output.say("OLLAMA_HOST=\(ShellText.quoted(host)) " + ShellText.line(["ollama", "run", model] + argument))
  }

  /// That of the pool that runs, if one does.
  private var endpoint: String? {
    get async {
      do throws(CommandFailure) {
        let dispatcher = try await control.connect(to: .dispatcher)
        let status = try await dispatcher.call(
          DispatcherInterface.Method.getStatus, as: DispatcherCalls.GetStatusReply.self)
        return status.endpoints.first
      } catch {
        return nil
      }
    }
  }

  /// Address and port of a URL.
  static func host(of endpoint: String) -> String {
    let address = endpoint.split(separator: "//", maxSplits: 1).last ?? ""
    return String(address.prefix { $0 != "/" })
  }
}
