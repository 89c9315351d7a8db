/// Variables of the pool's own that its instances get as well: how the way out to the network is found, and whose word
/// is taken there. Others of the pool's are its own affair.
///
/// A proxy's URL may have a password in it: see ``EnvironmentFile``.
package enum InheritedVariables {
  /// Ollama is a Go program, and takes these in capitals first and then in small letters.
  private static let proxies: Set = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]
  private static let certificates: Set = ["SSL_CERT_FILE", "SSL_CERT_DIR"]

  /// This process's environment.
  package static var own: [String: String] {
    var variables: [String: String] = [:]
    for entry in ownEnvironment {
      let name = entry.prefix { $0 != "=" }
      variables[String(name)] = String(entry.dropFirst(name.count + 1))
    }
    return variables
  }

  /// Those of an environment that reach instances. What is configured, in whatever case, stands for both.
  static func of(_ environment: [String: String], besides configured: [String: String]) -> [String: String] {
    let taken = Set(configured.keys.map { $0.uppercased() })
    return environment.filter { name, value in
      let capitals = name.uppercased()
      let isOne =
        proxies.contains(capitals) && [capitals, capitals.lowercased()].contains(name) || certificates.contains(name)
      return isOne && !taken.contains(capitals)
        && value.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f }
    }
  }

  /// Whether `name` would stand beside a configured variable of the same meaning.
  static func isReplaced(_ name: String, by configured: [String: String]) -> Bool {
    let capitals = name.uppercased()
    return proxies.contains(capitals) && (configured[capitals] != nil || configured[capitals.lowercased()] != nil)
  }
}
