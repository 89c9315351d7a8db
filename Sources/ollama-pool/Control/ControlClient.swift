import ControlInterface
import Glibc
import Launching
import NIOPosix
import Varlink

/// A connection to one of the daemons, whose errors are lines that say what to do.
struct ControlClient {
  /// Longer than any of the daemons' answers takes, and short enough for a person who waits.
  private static let patience = Duration.seconds(10)
  private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  let daemon: Daemon
  private let varlink: VarlinkClient

  static func connect(to daemon: Daemon, at path: String) async throws(CommandFailure) -> ControlClient {
    do throws(VarlinkError) {
      return ControlClient(daemon: daemon, varlink: try await .connect(to: path, on: group))
    } catch {
      throw failure(error, of: daemon, at: path)
    }
  }

  func call<Reply: Decodable & Sendable>(
    _ method: DispatcherInterface.Method, _ parameters: some Encodable = NoParameters(),
    as type: Reply.Type = Reply.self
  ) async throws(CommandFailure) -> Reply {
    try await call(method.qualified, parameters, as: type) { _ throws(CommandFailure) in }
  }

  /// - Parameter explain: turns the service's own errors into better words, where it can.
  func call<Reply: Decodable & Sendable>(
    _ method: DispatcherInterface.Method, _ parameters: some Encodable, as type: Reply.Type = Reply.self,
    explain: (VarlinkErrorReply) async throws(CommandFailure) -> Void
  ) async throws(CommandFailure) -> Reply {
    try await call(method.qualified, parameters, as: type, explain: explain)
  }

  func call<Reply: Decodable & Sendable>(
    _ method: SupervisorInterface.Method, _ parameters: some Encodable = NoParameters(),
    as type: Reply.Type = Reply.self
  ) async throws(CommandFailure) -> Reply {
    try await call(method.qualified, parameters, as: type) { error throws(CommandFailure) in
      try await explainSupervisorError(error)
    }
  }

  private func call<Reply: Decodable & Sendable>(
    _ method: String, _ parameters: some Encodable, as type: Reply.Type,
    explain: (VarlinkErrorReply) async throws(CommandFailure) -> Void
  ) async throws(CommandFailure) -> Reply {
    do throws(VarlinkError) {
      return try await varlink.call(method, parameters, as: type, timeout: Self.patience)
    } catch {
      if case .remote(let reply) = error.code { try await explain(reply) }
      throw Self.failure(error, of: daemon, at: varlink.path)
    }
  }

  /// What was named and isn't there is answered with what is.
  private func explainSupervisorError(_ error: VarlinkErrorReply) async throws(CommandFailure) {
    switch error.name {
    case ControlError.noSuchInstance:
      let known = try await status().instances.map(\.id)
      throw .unknown("instance", error.parameters["id"]?.string ?? "", known: known)
    case ControlError.noSuchGPU:
      let status = try await status()
      let known =
        status.gpus.isEmpty ? status.instances.map(\.id) : status.gpus.flatMap { [$0.uuid] + $0.instances }
      throw .unknown("GPU", error.parameters["gpu"]?.string ?? "", known: known)
    case ControlError.cannotStart:
      let id = Printable.text(error.parameters["id"]?.string ?? "")
      let reason = Printable.text(error.parameters["reason"]?.string ?? "the supervisor refused it")
      throw CommandFailure(
        "\(id) is not restarted, for it could not be started again: \(reason)",
        remedy: "see `ollama-pool gpus`, and take a cordon back with `ollama-pool uncordon \(id)`")
    case ControlError.invalidScale:
      throw CommandFailure(
        "the scale was not changed: \(error.parameters["reason"]?.string ?? "the supervisor refused it")")
    case ControlError.notStored:
      throw CommandFailure(
        "the order holds, but not after a restart of the supervisor: "
          + (error.parameters["reason"]?.string ?? "it could not be stored"))
    default:
      break
    }
  }

  private func status() async throws(CommandFailure) -> SupervisorTypes.Status {
    try await call(SupervisorInterface.Method.getStatus, as: SupervisorCalls.StatusReply.self).status
  }

  private static func failure(_ error: VarlinkError, of daemon: Daemon, at path: String) -> CommandFailure {
    switch error.code {
    case .cannotConnect(_, ENOENT), .cannotConnect(_, ECONNREFUSED), .cannotConnect(_, ENOTDIR):
      CommandFailure(
        "the \(daemon) is not running (nobody answers at \(path))",
        remedy: "start the pool with `systemctl start ollama-pool.target`, or without systemd with `ollama-pool serve`")
    case .cannotConnect(_, EACCES), .cannotConnect(_, EPERM):
      CommandFailure(
        "no right to use \(path)",
        remedy: """
          be root (sudo), or in the group ollama-pool (`sudo usermod -aG ollama-pool \(User.current)`, then log in again)
          """)
    case .remote(.permissionDenied):
      CommandFailure(
        "user \(User.current) may look at the pool and not change it",
        remedy: "be root (sudo), or the user that the pool runs as")
    case .remote(let reply) where reply.name == VarlinkErrorReply.invalidParameter("").name:
      CommandFailure(
        "the \(daemon) does not take the \(reply.parameters["parameter"]?.string ?? "parameters") that this order has",
        remedy: "see the command's --help, and whether both are of one version (this is \(Version.current)): "
          + "`ollama-pool doctor`")
    case .remote(let reply) where reply.name.hasPrefix("org.varlink.service."):
      CommandFailure(
        "\(path) does not understand this command (\(reply))",
        remedy: "it is not the \(daemon) of ollama-pool \(Version.current); see `ollama-pool doctor`")
    case .remote(let reply): CommandFailure("the \(daemon) refused: \(reply)")
    case .timeout, .cannotConnect(_, ETIMEDOUT), .cannotConnect(_, EAGAIN):
      CommandFailure(
        "the \(daemon) does not answer at \(path)",
        remedy: "see `ollama-pool logs`, and restart it with `systemctl restart \(daemon.unit)`")
    case .closed:
      CommandFailure("the \(daemon) went away before it answered", remedy: "see `ollama-pool logs`, then try again")
    case .malformed:
      CommandFailure(
        "the \(daemon) at \(path) speaks another version (\(error.message))",
        remedy: "restart it with `systemctl restart \(daemon.unit)` to run ollama-pool \(Version.current)")
    default: CommandFailure(error.message)
    }
  }
}

extension CommandFailure {
  static func unknown(_ kind: String, _ name: String, known: [String]) -> CommandFailure {
    var seen: Set<String> = []
    let known = known.filter { seen.insert($0).inserted }
    let shown = known.prefix(20).joined(separator: ", ") + (known.count > 20 ? ", …" : "")
    return CommandFailure(
      "there is no \(kind) \(Printable.text(name)): \(known.isEmpty ? "there are none now" : "there are \(shown)")")
  }
}
