/// The languages in which the pool speaks with those who chat.
package enum ChatLanguage: String, Sendable, CaseIterable {
  case italian = "it"
  case english = "en"

  /// The one that a browser likes best of these: RFC 9110, 12.5.4. Italian where it says nothing of either.
  package init(accepting header: String?) {
    var best: (language: ChatLanguage, weight: Double)?
    for range in (header ?? "").split(separator: ",").prefix(32) {
      let parts = range.split(separator: ";").map { $0.filter { !$0.isWhitespace }.lowercased() }
      guard let tag = parts.first else { continue }
      let weight = parts.dropFirst().lazy.filter { $0.hasPrefix("q=") }.first.map { Double($0.dropFirst(2)) ?? 0 } ?? 1
      let language = ChatLanguage(rawValue: String(tag.prefix { $0 != "-" })) ?? (tag == "*" ? .italian : nil)
      if let language, weight > best?.weight ?? 0 { best = (language, weight) }
    }
    self = best?.language ?? .italian
  }

  /// What the position follows.
  var queuedAt: StaticString {
    switch self {
    case .italian: "In coda: posizione "
    case .english: "In the queue: position "
    }
  }
}
