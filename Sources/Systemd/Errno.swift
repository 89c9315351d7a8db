import Glibc

/// The text for an errno value, without strerror's shared buffer.
package func describe(errno code: Int32) -> String {
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
    buffer.initialize(repeating: 0)
    guard let start = buffer.baseAddress, strerror_r(code, start, buffer.count) == 0 else { return "error \(code)" }
    return String(cString: start)
  }
}

extension SystemdError.Code {
  init(errno code: Int32) {
    switch code {
    case EPERM, EACCES: self = .accessDenied
    case EINVAL, ENXIO: self = .invalidArguments
    case ENOENT, ENOTCONN, ECONNRESET, ECONNREFUSED, EPIPE, ESHUTDOWN, ENOMEDIUM: self = .connectionLost
    case ETIMEDOUT: self = .timedOut
    default: self = .other("errno \(code)")
    }
  }
}
