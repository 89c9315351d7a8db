import Addresses

/// Which values of the header `Host` a server on loopback answers to: a guard against DNS rebinding.
///
/// As Ollama: loopback, private, unspecified and the machine's own addresses, `localhost`, the machine's name, and
/// names under `.localhost`, `.local` and `.internal`.
package struct HostRule: Sendable {
  private let hostname: String
  private let localAddresses: Set<IPAddress>

  /// - Parameters:
  ///   - hostname: the machine's name, as `gethostname` gives it.
  ///   - localAddresses: the addresses of its interfaces, in text; what is no address is left out.
  package init(hostname: String, localAddresses: [String] = []) {
    self.hostname = hostname.lowercased()
    self.localAddresses = Set(localAddresses.compactMap { IPAddress($0) })
  }

  /// - Parameter hostHeader: the header's value, with or without a port; an empty one is allowed (HTTP/1.0 has none).
  package func allows(_ hostHeader: String) -> Bool {
    let host = HostName.withoutPort(hostHeader).lowercased()
    if let address = IPAddress(host) {
      return address.isLoopback || address.isPrivate || address.isUnspecified || localAddresses.contains(address)
    }
    if host.isEmpty || host == "localhost" || host == hostname { return true }
    return [".localhost", ".local", ".internal"].contains { host.hasSuffix($0) }
  }
}

/// Takes apart `host:port`.
enum HostName {
  /// The host, without port and brackets.
  static func withoutPort(_ value: String) -> Substring {
    if value.hasPrefix("["), let end = value.firstIndex(of: "]") {
      return value[value.index(after: value.startIndex)..<end]
    }
    guard let colon = value.lastIndex(of: ":"), !value[..<colon].contains(":") else { return value[...] }
    return value[..<colon]
  }
}
