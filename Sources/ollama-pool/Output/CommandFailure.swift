import Glibc

/// Why a command did not do what it was asked for: one line that says what, and what to do.
struct CommandFailure: Error, Equatable {
  /// EX_CONFIG of sysexits(3), which the units' RestartPreventExitStatus= names.
  static let wrongConfiguration = EX_CONFIG

  /// What is wrong.
  let what: String
  /// What to do about it, where that stands apart from what is wrong.
  let remedy: String?
  let status: Int32
  /// Lines that begin with the file they are about, as compilers write them: no name of a program goes before.
  private let isComplete: Bool

  init(_ what: String, remedy: String? = nil, status: Int32 = 1, isComplete: Bool = false) {
    self.what = what
    self.remedy = remedy
    self.status = status
    self.isComplete = isComplete
  }

  var message: String { what + (remedy.map { ": \($0)" } ?? "") }

  /// For standard error.
  var text: String { isComplete ? message : "ollama-pool: \(message)" }
}
