import Glibc
import PoolConfiguration

/// Trying an address out.
enum Binding: Equatable {
  case free
  case taken
  /// errno
  case failed(Int32)

  /// Binds it as a server would, and lets it go without ever listening.
  static func attempt(_ address: ListenAddress) -> Binding {
    let family = address.isIPv6 ? AF_INET6 : AF_INET
    let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return .failed(errno) }
    defer { close(descriptor) }
    var yes: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    let code = address.isIPv6 ? bind6(descriptor, address) : bind4(descriptor, address)
    return code == 0 ? .free : code == EADDRINUSE ? .taken : .failed(code)
  }

  private static func bind4(_ descriptor: Int32, _ address: ListenAddress) -> Int32 {
    var target = sockaddr_in()
    target.sin_family = sa_family_t(AF_INET)
    target.sin_port = address.port.bigEndian
    inet_pton(AF_INET, address.host, &target.sin_addr)
    return bind(descriptor, to: &target)
  }

  private static func bind6(_ descriptor: Int32, _ address: ListenAddress) -> Int32 {
    var target = sockaddr_in6()
    target.sin6_family = sa_family_t(AF_INET6)
    target.sin6_port = address.port.bigEndian
    inet_pton(AF_INET6, address.host, &target.sin6_addr)
    return bind(descriptor, to: &target)
  }

  /// - Returns: errno, or 0.
  private static func bind<Address>(_ descriptor: Int32, to address: inout Address) -> Int32 {
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<Address>.size))
      }
    }
    return result == 0 ? 0 : errno
  }
}
