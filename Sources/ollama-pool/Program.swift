import ArgumentParser
import Glibc
import PoolConfiguration

/// The process: how it begins, and how whatever goes wrong in it becomes text and an exit status.
@main
enum Program {
  static func main() async {
    // A reader that has gone (`| head`) shows as an error of write(2), see `Output`, and ends no daemon.
    signal(SIGPIPE, SIG_IGN)
    do {
      var command = try await OllamaPool.asyncParseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let failure as CommandFailure {
      Output.complain("ollama-pool: \(failure.message)")
      exit(failure.status)
    } catch let error as ConfigurationError {
      Output.complain(error.description)
      exit(CommandFailure.wrongConfiguration)
    } catch {
      OllamaPool.exit(withError: error)
    }
  }
}
