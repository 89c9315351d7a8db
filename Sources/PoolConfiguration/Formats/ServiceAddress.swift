/// Where an HTTP service of the operator's own is: `http://HOST[:PORT][/PATH]`.
package struct ServiceAddress: Sendable, Hashable {
  /// A name, or an IP address without brackets.
  package let host: String
  package let port: UInt16
  /// Begins with a slash; with the query, if there is one.
  package let path: String

  /// nil where it isn't one, or names a user.
  package init?(parsing text: String) {
    guard text.utf8.count <= 2_048, text.hasPrefix("http://"),
      text.unicodeScalars.allSatisfy({ $0.value > 0x20 && $0.value < 0x7f }), !text.contains("#")
    else { return nil }
    let rest = text.dropFirst("http://".count)
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    let target = rest.dropFirst(authority.count)
    path = target.hasPrefix("/") ? String(target) : "/" + target

    var host = authority
    var portText: Substring = "80"
    if host.first == "[" {
      guard let bracket = host.firstIndex(of: "]") else { return nil }
      let after = host[host.index(after: bracket)...]
      if !after.isEmpty {
        guard after.first == ":" else { return nil }
        portText = after.dropFirst()
      }
      host = host[host.index(after: host.startIndex)..<bracket]
      guard host.contains(":"), String(host).isMade(of: ":.") else { return nil }
    } else {
      if let colon = host.firstIndex(of: ":") {
        portText = host[host.index(after: colon)...]
        host = host[..<colon]
      }
      guard String(host).isMade(of: ".-_") else { return nil }
    }
    guard !host.isEmpty, host.utf8.count <= 253, let port = UInt16(portText), port > 0 else { return nil }
    self.host = String(host)
    self.port = port
  }
}

extension ServiceAddress: CustomStringConvertible {
  package var description: String { "http://\(host.contains(":") ? "[\(host)]" : host):\(port)\(path)" }
}
