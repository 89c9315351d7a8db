/// One of the pool's two daemons, as others find it.
enum Daemon: String, CaseIterable {
  case dispatcher, supervisor

  /// The name of its control socket within the sockets' folder.
  var socketName: String { "\(rawValue).sock" }
  var unit: String { "ollama-pool-\(rawValue).service" }
  /// SYSLOG_IDENTIFIER of its entries in the journal.
  var journalIdentifier: String { "ollama-pool-\(rawValue)" }
}
