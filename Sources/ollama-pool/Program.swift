import ArgumentParser
import Dispatcher
import Glibc
import Launching
import PoolConfiguration
import Retrieval
import Simulation
import Supervisor
import Systemd
import Varlink

/// The process: how it begins, and how whatever goes wrong in it becomes text and an exit status.
@main
enum Program {
  static func main() async {
    InstanceGuard.takeOver()
    ModelReader.takeOver()
    // A reader that has gone (`| head`) shows as an error of write(2), see `Output`, and ends no daemon.
    signal(SIGPIPE, SIG_IGN)
    var isDaemon = false
    do {
      var command = try await OllamaPool.asyncParseAsRoot()
      isDaemon = command is DispatcherCommand || command is SupervisorCommand
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch {
      // Whatever else it may be is the argument parser's: wrong usage, and the wish for help.
      guard let failure = CommandFailure(error) else { OllamaPool.exit(withError: error) }
      Output.complain(failure.text)
      if isDaemon { await ServiceManager.pauseAfterFailure() }
      exit(failure.status)
    }
  }
}

extension CommandFailure {
  /// What goes wrong in the daemons' modules has a message that says what to do.
  init?(_ error: any Error) {
    switch error {
    case let failure as CommandFailure: self = failure
    case let error as ConfigurationError:
      self.init(error.description, status: Self.wrongConfiguration, isComplete: true)
    case let error as DispatcherError: self.init(error.message)
    case let error as RetrievalError: self.init(error.message)
    case let error as SupervisorError: self.init(error.message)
    case let error as LaunchError: self.init(error.message)
    case let error as TraceError: self.init(error.description, isComplete: true)
    case let error as VarlinkError: self.init(error.message)
    default: return nil
    }
  }
}
