/// Why an instance could not be started or stopped.
package struct LaunchError: Error, Equatable, Sendable, CustomStringConvertible {
  package enum Code: Hashable, Sendable {
    /// There is no `ollama` to run, or what was named is not a program.
    case missingExecutable
    /// The user that instances are to run as does not exist, or may not be used.
    case unusableUser
    /// A device node of a GPU does not exist.
    case missingDevice
    /// What the models are on is not mounted.
    case missingMount
    /// There is no port left for it.
    case noPort
    /// The launcher does not take the order: a setting that systemd rejects, a name in use, no right.
    case refused
    /// The instance's program ended, or could not be executed.
    case ended
    case timedOut
    /// systemd can't be reached, or the launcher was closed.
    case unavailable
  }

  package let code: Code
  /// What failed, why, and what helps, in words for the operator.
  package let message: String

  package var description: String { message }

  init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }
}
