/// Why the supervisor can't do what was asked of it.
package struct SupervisorError: Error, Sendable, CustomStringConvertible {
  package enum Code: Sendable, Hashable {
    /// A file in the state directory can't be used.
    case state
    /// Another supervisor has the state directory.
    case inUse
    /// A placement that the configuration doesn't have any more.
    case noSuchPlacement
    /// Every port that an instance may have is another one's.
    case noFreePort
  }

  package let code: Code
  package let message: String
  package let cause: (any Error)?

  init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.cause = cause
  }

  package var description: String { message }

  static func state(_ file: String, _ what: String, remedy: String) -> Self {
    Self(.state, "\(file) \(what); \(remedy)")
  }
}
