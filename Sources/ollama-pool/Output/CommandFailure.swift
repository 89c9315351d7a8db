import ArgumentParser
import Glibc

/// Why a command did not do what it was asked for: one line that says what, and what to do.
struct CommandFailure: Error {
  /// EX_CONFIG of sysexits(3), which the units' RestartPreventExitStatus= names.
  static let wrongConfiguration = EX_CONFIG

  let message: String
  let status: Int32

  init(_ message: String, status: Int32 = 1) {
    self.message = message
    self.status = status
  }
}
