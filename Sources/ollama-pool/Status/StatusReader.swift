import ControlInterface

/// Asks both daemons, at the same time.
enum StatusReader {
  static func read(_ sockets: SocketFolder) async -> PoolStatus {
    async let dispatcher = answer(of: .dispatcher, sockets) { (client) async throws(CommandFailure) in
      try await client.call(DispatcherInterface.Method.getStatus, as: DispatcherCalls.GetStatusReply.self)
    }
    async let supervisor = answer(of: .supervisor, sockets) { (client) async throws(CommandFailure) in
      try await client.call(SupervisorInterface.Method.getStatus, as: SupervisorCalls.StatusReply.self).status
    }
    return PoolStatus(dispatcher: await dispatcher, supervisor: await supervisor, sockets: sockets)
  }

  private static func answer<Reply: Sendable>(
    of daemon: Daemon, _ sockets: SocketFolder,
    _ ask: @Sendable (ControlClient) async throws(CommandFailure) -> Reply
  ) async -> Result<Reply, CommandFailure> {
    do throws(CommandFailure) {
      return .success(try await ask(try await ControlClient.connect(to: daemon, at: sockets[daemon])))
    } catch {
      return .failure(error)
    }
  }
}
