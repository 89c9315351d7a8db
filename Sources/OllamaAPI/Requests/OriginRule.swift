/// Which web pages may use the API from a browser, and what CORS headers they get.
package struct OriginRule: Sendable {
  package enum Verdict: Sendable, Hashable {
    /// No `Origin`, or the server's own: answer as always.
    case sameOrigin
    /// Answer, and add these headers.
    case allowed(headers: [(name: String, value: String)])
    /// Answer 403.
    case refused

    package static func == (left: Self, right: Self) -> Bool {
      switch (left, right) {
      case (.sameOrigin, .sameOrigin), (.refused, .refused): true
      case (.allowed(let left), .allowed(let right)): left.elementsEqual(right, by: ==)
      default: false
      }
    }

    package func hash(into hasher: inout Hasher) {
      if case .allowed(let headers) = self {
        for header in headers {
          hasher.combine(header.name)
          hasher.combine(header.value)
        }
      }
    }
  }

  /// What Ollama allows by itself; `*` stands for anything.
  package static let defaults: [String] =
    ["localhost", "127.0.0.1", "0.0.0.0"].flatMap { host in
      ["http://\(host)", "https://\(host)", "http://\(host):*", "https://\(host):*"]
    } + ["app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"]

  private static let allowedHeaders = [
    "Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "OpenAI-Beta", "X-Api-Key",
    "Last-Event-ID", "X-Pool-Progress", "x-stainless-arch",
    "x-stainless-async", "x-stainless-custom-poll-interval", "x-stainless-helper-method", "x-stainless-lang",
    "x-stainless-os", "x-stainless-poll-helper", "x-stainless-package-version", "x-stainless-retry-count",
    "x-stainless-runtime", "x-stainless-runtime-version", "x-stainless-timeout",
  ].joined(separator: ",")

  /// What of an answer a page may read, beside what any page may: the pool's own.
  private static let exposedHeaders =
    "X-Request-Id,Retry-After,RateLimit-Limit,RateLimit-Remaining,RateLimit-Reset"

  private let patterns: [String]
  private let allowsAll: Bool

  /// - Parameter extra: more origins, each with at most one `*`; `*` alone allows all.
  package init(extra: [String] = []) {
    patterns = (extra + Self.defaults).map { $0.lowercased() }
    allowsAll = extra.contains("*")
  }

  /// Judges a request by its headers; nil and empty stand for a missing one.
  package func verdict(origin: String?, host: String?, isPreflight: Bool) -> Verdict {
    guard let origin, !origin.isEmpty else { return .sameOrigin }
    if let host, origin == "http://\(host)" || origin == "https://\(host)" { return .sameOrigin }
    guard allowsAll || patterns.contains(where: { Self.matches(origin.lowercased(), pattern: $0) }) else {
      return .refused
    }
    var headers: [(name: String, value: String)] = []
    if isPreflight {
      headers.append(("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"))
      headers.append(("Access-Control-Allow-Headers", Self.allowedHeaders))
      // Seconds: twelve hours.
      headers.append(("Access-Control-Max-Age", "43200"))
    } else {
      headers.append(("Access-Control-Expose-Headers", Self.exposedHeaders))
    }
    headers.append(("Access-Control-Allow-Origin", allowsAll ? "*" : origin))
    if !allowsAll { headers.append(("Vary", "Origin")) }
    return .allowed(headers: headers)
  }

  private static func matches(_ origin: String, pattern: String) -> Bool {
    guard let star = pattern.firstIndex(of: "*") else { return origin == pattern }
    let prefix = pattern[..<star]
    let suffix = pattern[pattern.index(after: star)...]
    return origin.utf8.count >= prefix.utf8.count + suffix.utf8.count && origin.hasPrefix(prefix)
      && origin.hasSuffix(suffix)
  }
}
