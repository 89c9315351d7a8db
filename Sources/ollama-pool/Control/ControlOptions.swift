import ArgumentParser

/// Which pool a command talks to.
struct ControlOptions: ParsableArguments {
  @Option(
    name: .customLong("socket"),
    help: ArgumentHelp(
      "The pool's control sockets: their folder, or one of them.",
      discussion: """
        Without it: $OLLAMA_POOL_SOCKET, then the first of $XDG_RUNTIME_DIR/ollama-pool, /tmp/ollama-pool-UID and \
        /run/ollama-pool in which a pool answers.
        """, valueName: "path"),
    completion: .file())
  var socket: String?

  var folder: SocketFolder {
    if let named = socket ?? Environment["OLLAMA_POOL_SOCKET"] { return SocketFolder(named: named) }
    return SocketFolder.choose(among: SocketFolder.candidates(), connect: SocketFolder.attempt)
  }

  func connect(to daemon: Daemon) async throws(CommandFailure) -> ControlClient {
    try await ControlClient.connect(to: daemon, at: folder[daemon])
  }
}
