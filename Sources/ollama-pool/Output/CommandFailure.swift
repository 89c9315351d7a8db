import Glibc

/// Why a command did not do what it was asked for: one line that says what, and what to do.
struct CommandFailure: Error {
  /// EX_CONFIG of sysexits(3), which the units' RestartPreventExitStatus= names.
  static let wrongConfiguration = EX_CONFIG

  let message: String
  let status: Int32
  /// Lines that begin with the file they are about, as compilers write them: no name of a program goes before.
  private let isComplete: Bool

  init(_ message: String, status: Int32 = 1, isComplete: Bool = false) {
    self.message = message
    self.status = status
    self.isComplete = isComplete
  }

  /// For standard error.
  var text: String { isComplete ? message : "ollama-pool: \(message)" }
}
