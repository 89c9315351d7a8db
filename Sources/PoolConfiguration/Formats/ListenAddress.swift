import Addresses

/// An IP address and a TCP port to listen on. Host names are not resolved, but for `localhost`, which means 127.0.0.1.
package struct ListenAddress: Sendable, Hashable {
  /// The address as `inet_ntop` writes it, without brackets.
  package let host: String
  /// 0 lets the kernel choose.
  package let port: UInt16

  /// `host` must be an IPv4 or IPv6 address; `nil` where it isn't.
  package init?(host: String, port: UInt16) {
    guard !host.contains("%"), let address = IPAddress(host) else { return nil }
    // An IPv4 address that is mapped stays one of an IPv6 socket.
    self.host = host.contains(":") && address.isIPv4 ? "::ffff:\(address)" : address.description
    self.port = port
  }

  private init(loopbackPort port: UInt16) {
    host = "127.0.0.1"
    self.port = port
  }

  package static func loopback(port: UInt16) -> ListenAddress { ListenAddress(loopbackPort: port) }

  /// `ADDRESS:PORT`, `[ADDRESS]:PORT`, `localhost:PORT` or the port alone, which means 127.0.0.1.
  package init?(parsing text: String) {
    if let port = Self.port(text[...]) {
      self = .loopback(port: port)
      return
    }
    guard let colon = text.lastIndex(of: ":"), let port = Self.port(text[text.index(after: colon)...]) else {
      return nil
    }
    let host = text[..<colon]
    if host == "localhost" {
      self = .loopback(port: port)
    } else if host.hasPrefix("["), host.hasSuffix("]") {
      let inner = String(host.dropFirst().dropLast())
      guard inner.contains(":") else { return nil }
      self.init(host: inner, port: port)
    } else {
      // An IPv6 address without brackets would leave open which colon begins the port.
      guard !host.contains(":") else { return nil }
      self.init(host: String(host), port: port)
    }
  }

  private static func port(_ text: Substring) -> UInt16? {
    guard !text.isEmpty, text.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
    return UInt16(text)
  }

  package var isIPv6: Bool { host.contains(":") }

  /// Whether only this machine can reach it.
  package var isLoopback: Bool { IPAddress(host)?.isLoopback ?? false }

  /// Whether binding both would fail, also because one of them is every address.
  package func overlaps(_ other: ListenAddress) -> Bool {
    guard port != 0, port == other.port else { return false }
    return host == other.host || (isIPv6 == other.isIPv6 && (isWildcard || other.isWildcard))
  }

  private var isWildcard: Bool { host == "0.0.0.0" || host == "::" }
}

extension ListenAddress: CustomStringConvertible {
  package var description: String { isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
