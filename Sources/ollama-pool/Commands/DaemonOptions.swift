import ArgumentParser

/// Where a daemon makes its control socket, and looks for the other's.
struct DaemonSocketOptions: ParsableArguments {
  @Option(
    name: .customLong("socket"),
    help: ArgumentHelp(
      "The folder of both control sockets.",
      discussion: """
        Without it: /run/ollama-pool for root, else $XDG_RUNTIME_DIR/ollama-pool, else /tmp/ollama-pool-UID. A socket \
        that systemd passes on wins.
        """, valueName: "folder"),
    completion: .directory)
  var socket: String?

  var path: String { socket ?? SocketFolder.own() }
  var folder: SocketFolder { SocketFolder(folder: path) }
}

/// Where the supervisor keeps what outlives it.
struct StateOptions: ParsableArguments {
  @Option(
    name: .customLong("state"),
    help: ArgumentHelp(
      "The folder for what outlives the daemons. No two pools share one.",
      discussion: """
        Of the supervisor: GPU numbers, and what operators ordered: cordons, scale, drains, restarts. Of the dispatcher: \
        questions that wait, API keys by their hashes, sessions with their history, and the secret that signs cookies.

        Variables that are configured for instances are in it, too, for units of the system's systemd: one file for \
        each instance, NAME.environment, that root alone reads.

        Without it: $STATE_DIRECTORY as systemd sets it, /var/lib/ollama-pool for root, else \
        $XDG_STATE_HOME/ollama-pool or ~/.local/state/ollama-pool.
        """, valueName: "folder"),
    completion: .directory)
  var state: String?

  var folder: String { state ?? Environment["STATE_DIRECTORY"] ?? Folders.state() }
}
