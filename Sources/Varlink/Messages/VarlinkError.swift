import Glibc

/// What went wrong in talking Varlink. ``code`` is for programs, ``message`` for people.
package struct VarlinkError: Error, Sendable, CustomStringConvertible {
  package enum Code: Sendable, Equatable {
    /// No connection: ENOENT, ECONNREFUSED, EACCES, ETIMEDOUT, EAGAIN (the server's backlog stayed full), …
    case cannotConnect(path: String, errno: CInt)
    /// No server: EADDRINUSE where another one answers at that path, ENOTSOCK where something else lies there, …
    case cannotListen(endpoint: String, errno: CInt)
    /// The connection is gone, and with it the answer.
    case closed
    /// The peer answered with an error.
    case remote(VarlinkErrorReply)
    /// A message that is not Varlink, or does not fit the type that was asked for, or is too long.
    case malformed
    /// No answer within the call's limit; the connection was closed, for an answer coming late would be taken for
    /// that of the next call.
    case timeout
    /// The calling task was cancelled; the connection was closed, for the same reason.
    case cancelled
    /// A subscription has the connection; call on another one.
    case busy
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
}

extension VarlinkError {
  static func cannotConnect(to path: String, errno code: CInt, cause: (any Error)? = nil) -> Self {
    let remedy =
      switch code {
      case ENOENT: "nothing has made this socket: start the service, or name another socket"
      case ECONNREFUSED: "the service that made this socket has ended: start it again"
      case EACCES: "this user needs write access to the socket, usually by way of its group"
      case ETIMEDOUT, EAGAIN: "the service does not accept: see whether it hangs"
      case ENAMETOOLONG: "a socket's path is at most 107 bytes long"
      default: "see whether the service runs"
      }
    return Self(
      .cannotConnect(path: path, errno: code), "cannot connect to \(path): \(text(code)); \(remedy)", cause: cause)
  }

  static func cannotListen(at endpoint: String, errno code: CInt, _ remedy: String) -> Self {
    Self(.cannotListen(endpoint: endpoint, errno: code), "cannot listen at \(endpoint): \(text(code)); \(remedy)")
  }

  static let closed = Self(.closed, "the connection was closed before the answer came")

  static func malformed(_ what: String, cause: (any Error)? = nil) -> Self {
    Self(.malformed, what, cause: cause)
  }

  private static func text(_ code: CInt) -> String { String(cString: strerror(code)) }
}
