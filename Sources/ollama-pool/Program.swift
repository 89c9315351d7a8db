import ArgumentParser
import Dispatcher
import Glibc
import Launching
import PoolConfiguration
import Supervisor
import Varlink

/// The process: how it begins, and how whatever goes wrong in it becomes text and an exit status.
@main
enum Program {
  static func main() async {
    InstanceGuard.takeOver()
    // A reader that has gone (`| head`) shows as an error of write(2), see `Output`, and ends no daemon.
    signal(SIGPIPE, SIG_IGN)
    let command: any ParsableCommand
    do {
      command = try await OllamaPool.asyncParseAsRoot()
    } catch {
      OllamaPool.exit(withError: error)
    }
    do {
      try await run(command)
    } catch let error as ExitCode {
      exit(error.rawValue)
    } catch {
      let failure = CommandFailure(error)
      Output.complain(failure.text)
      exit(failure.status)
    }
  }

  private static func run(_ command: any ParsableCommand) async throws {
    do {
      var command = command
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let error as CleanExit {
      OllamaPool.exit(withError: error)
    }
  }
}

extension CommandFailure {
  /// What goes wrong in the daemons' modules has a message that says what to do.
  init(_ error: any Error) {
    switch error {
    case let failure as CommandFailure: self = failure
    case let error as ConfigurationError:
      self.init(error.description, status: Self.wrongConfiguration, isComplete: true)
    case let error as DispatcherError: self.init(error.message)
    case let error as SupervisorError: self.init(error.message)
    case let error as LaunchError: self.init(error.message)
    case let error as VarlinkError: self.init(error.message)
    default: self.init("\(error)")
    }
  }
}
