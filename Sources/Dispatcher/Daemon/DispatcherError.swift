import Glibc
package import PoolConfiguration
import Systemd

/// Why a dispatcher could not be started.
package struct DispatcherError: Error, Sendable, CustomStringConvertible {
  package enum Code: Sendable, Equatable {
    /// The kernel refuses the address: EADDRINUSE, EACCES, EADDRNOTAVAIL, …
    case cannotListen(ListenAddress, errno: CInt)
    /// A socket that was passed on is of no use.
    case unusableSocket(name: String)
    /// The state folder, or what is in it.
    case unusableState
  }

  package let code: Code
  package let message: String

  package var description: String { message }
}

extension DispatcherError {
  /// - Parameter key: of the configuration, which names the address.
  static func cannotListen(on address: ListenAddress, key: String, errno code: CInt) -> DispatcherError {
    let remedy =
      switch code {
      case EADDRINUSE: inUse(address, key: key)
      case EACCES:
        "ports below 1024 take a privilege: choose another under \(key), or let systemd's socket unit open it"
      case EADDRNOTAVAIL: "this machine has no such address: correct \(key)"
      default: "\(String(cString: strerror(code))): correct \(key)"
      }
    return DispatcherError(
      code: .cannotListen(address, errno: code), message: "cannot listen on \(address): \(remedy)")
  }

  private static func inUse(_ address: ListenAddress, key: String) -> String {
    let holder = PortHolder.find(port: address.port)
    let stop =
      (holder?.processID).map { "end it (\(ControlGroupOwner.remedy(against: $0, of: holder?.owner)))" }
      ?? "end what holds it"
    return
      "it is in use by \(holder?.description ?? "another process"); \(stop), or choose another address under \(key)"
  }

  static func unusableSocket(named name: String, _ problem: String) -> DispatcherError {
    DispatcherError(
      code: .unusableSocket(name: name), message: "the inherited socket \(name) \(problem); correct its .socket unit")
  }
}
