import Addresses
import PoolCore
import Yams

extension ValueFormat where Value == Bool {
  static var boolean: Self {
    .scalar("true or false", plainOnly: true, render: { .bool($0) }) { Bool($0) }
  }
}

extension ValueFormat where Value == Int {
  static func integer(_ bounds: ClosedRange<Int>) -> Self {
    .scalar(
      "a whole number from \(bounds.lowerBound) to \(bounds.upperBound)", plainOnly: true, render: { .integer($0) }
    ) { text in
      Int(text).flatMap { bounds.contains($0) ? $0 : nil }
    }
  }
}

extension ValueFormat where Value == UInt16 {
  static func port(_ bounds: ClosedRange<UInt16>) -> Self {
    .scalar(
      "a port from \(bounds.lowerBound) to \(bounds.upperBound)", plainOnly: true, render: { .integer(Int($0)) }
    ) { text in
      UInt16(text).flatMap { bounds.contains($0) ? $0 : nil }
    }
  }
}

extension ValueFormat where Value == Double {
  static func number(_ bounds: ClosedRange<Double>) -> Self {
    let (least, most) = (Rendered.number(bounds.lowerBound).yaml, Rendered.number(bounds.upperBound).yaml)
    return .scalar("a number from \(least) to \(most)", plainOnly: true, render: { .number($0) }) { text in
      let isDecimal = text.allSatisfy { ($0.isASCII && $0.isNumber) || $0 == "." }
      return Double(text).flatMap { isDecimal && bounds.contains($0) ? $0 : nil }
    }
  }
}

extension ValueFormat where Value == Double {
  /// A part of a whole, from 0 to 1, in whole per cent.
  static var share: Self {
    .scalar("a share from 0% to 100%", render: { .text("\(Int(($0 * 100).rounded()))%") }) { text in
      guard text.last == "%", let share = UInt8(text.dropLast()), share <= 100 else { return nil }
      return Double(share) / 100
    }
  }
}

extension ValueFormat where Value == Duration {
  static func duration(_ bounds: ClosedRange<Duration>) -> Self {
    let (least, most) = (DurationText.render(bounds.lowerBound), DurationText.render(bounds.upperBound))
    return .scalar(
      "a duration from \(least) to \(most), such as 250ms, 30s or 10m",
      render: { .text(DurationText.render($0)) }
    ) { text in
      DurationText.parse(text).flatMap { bounds.contains($0) ? $0 : nil }
    }
  }
}

extension ValueFormat where Value == ByteCount {
  static func size(_ bounds: ClosedRange<ByteCount>) -> Self {
    .scalar(
      "a size from \(bounds.lowerBound) to \(bounds.upperBound), such as 512MiB, 64MB or plain bytes",
      render: { .text($0.description) }
    ) { text in
      ByteCount(parsing: text).flatMap { bounds.contains($0) ? $0 : nil }
    }
  }
}

extension ValueFormat where Value == ListenAddress {
  static var address: Self {
    .scalar(
      "an address and port such as 127.0.0.1:11434, [::1]:11434, localhost:11434 or a port alone",
      render: { .text($0.description) }
    ) { ListenAddress(parsing: $0) }
  }
}

extension ValueFormat where Value == ServiceAddress {
  static var serviceAddress: Self {
    .scalar("a URL such as http://127.0.0.1:8080/search, without https", render: { .text($0.description) }) {
      ServiceAddress(parsing: $0)
    }
  }
}

extension ValueFormat where Value == IPNetwork {
  /// Those of proxies: where the network is the whole Internet, every client says who it is.
  static var proxies: Self {
    .scalar(
      "an address such as 127.0.0.1 or a network such as 10.0.0.0/8, and no /0, which is everybody",
      render: { .text($0.description) }
    ) { IPNetwork($0).flatMap { $0.prefix > 0 ? $0 : nil } }
  }
}

extension ValueFormat where Value == KeepAlive {
  static var keepAlive: Self {
    .scalar("forever or a duration such as 5m", render: { $0.rendered }) { KeepAlive(parsing: $0) }
  }
}

extension KeepAlive {
  fileprivate var rendered: Rendered {
    switch self {
    case .forever: .text("forever")
    case .duration(let duration): .text(DurationText.render(duration))
    }
  }
}

extension ValueFormat
where Value: RawRepresentable & CaseIterable & Equatable, Value.RawValue == String {
  static var choice: Self {
    let words = Value.allCases.map(\.rawValue)
    return .scalar("one of " + words.joined(separator: ", "), render: { .text($0.rawValue) }) { Value(rawValue: $0) }
  }
}

extension ValueFormat where Value == String {
  /// Text without control characters that fulfils `accepts`.
  static func text(_ expected: String, _ accepts: @escaping @Sendable (String) -> Bool) -> Self {
    .scalar(expected, render: { .text($0) }) { text in
      let isPrintable = text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f }
      return isPrintable && !text.isEmpty && accepts(text) ? text : nil
    }
  }

  /// systemd waits for the mounts of no path with `..` in it.
  static var absolutePath: Self {
    text("an absolute path without ..") { path in
      path.hasPrefix("/") && path.utf8.count <= 4_095 && !path.split(separator: "/").contains("..")
    }
  }

  /// Device nodes stand below /dev: a typing error must not hand out a file.
  static var deviceNode: Self {
    text("a device node such as /dev/nvidia0") { path in
      path.hasPrefix("/dev/") && path.utf8.count <= 255 && path.isMade(of: "/_-.:")
        && !path.split(separator: "/").contains("..")
    }
  }

  static var userName: Self {
    text("the name of a user other than root and ollama-pool, the dispatcher's") { name in
      !["root", "ollama-pool"].contains(name) && name.utf8.count <= 32 && name.isMade(of: "_-.")
        && name.first.map { $0.isLetter || $0 == "_" } == true
    }
  }

  static var origin: Self {
    text(
      "an origin such as https://chat.example.org, https://*.example.org, http://10.0.0.5:8080 or app://*, "
        + "without a path and with one * at most; \"*\" for any"
    ) { origin in
      guard origin.utf8.count <= 255, origin.count(where: { $0 == "*" }) <= 1 else { return false }
      guard let separator = origin.firstRange(of: "://") else {
        // As in Ollama, it may stand for the scheme, too.
        return origin.hasPrefix("*") && origin.isMade(of: ".-_:[]*")
      }
      let scheme = origin[..<separator.lowerBound]
      let host = origin[separator.upperBound...]
      return scheme.first.map { $0.isLetter || $0 == "*" } == true && String(scheme).isMade(of: "+-.*")
        && !host.isEmpty && String(host).isMade(of: ".-_:[]*")
    }
  }

  /// RFC 9110, 5.1, as far as names of headers go that are in use.
  static var userHeader: Self {
    text("the name of a header such as X-Forwarded-User, and of none that says something else") { name in
      name.utf8.count <= 64 && name.isMade(of: "-_") && !otherHeaders.contains(name.lowercased())
    }
  }

  /// What clients themselves say, or what belongs to the connection.
  private static let otherHeaders: Set = [
    "accept", "authorization", "connection", "content-length", "content-type", "cookie", "expect", "forwarded", "host",
    "keep-alive", "last-event-id", "origin", "proxy-authorization", "referer", "te", "trailer", "transfer-encoding",
    "upgrade", "user-agent", "via", "x-api-key", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
  ]

  static var className: Self {
    text("a class's name: 1 to 32 of a-z, 0-9, _ and -") {
      $0.utf8.count <= 32 && $0.isMade(of: "_-") && $0 == $0.lowercased()
    }
  }

  /// Whom a proxy names: also an address of mail, or a whole name.
  static var proxyUserName: Self {
    text("a user's name of at most 128 bytes, without blanks around") {
      $0.utf8.count <= 128 && $0.first != " " && $0.last != " " && !$0.unicodeScalars.contains("\u{FFFD}")
    }
  }

  static var instructions: Self {
    .scalar("a text of at most 16384 bytes", render: { .text($0) }) { text in
      let isText = text.unicodeScalars.allSatisfy { $0.value >= 0x20 || $0 == "\n" || $0 == "\t" }
      return isText && !text.isEmpty && text.utf8.count <= 16_384 ? text : nil
    }
  }

  static var modelName: Self {
    text("a model's name such as llama3.2:3b") { $0.utf8.count <= 255 && $0.isMade(of: "/._:-@") }
  }

  static var gpuUUID: Self {
    text("a GPU's UUID such as GPU-8932f937-d72c-4106-c12f-20bd9faed9f6") {
      $0.utf8.count <= 95 && $0.isMade(of: "-_") && $0.first?.isLetter == true
    }
  }

  static var pciAddress: Self {
    text("a PCI address such as 0000:41:00.0") { address in
      let parts = address.split(separator: ":", omittingEmptySubsequences: false)
      let slot = parts.last?.split(separator: ".", omittingEmptySubsequences: false) ?? []
      let fields = parts.dropLast() + slot
      return (2...3).contains(parts.count) && slot.count == 2
        && fields.allSatisfy { (1...8).contains($0.count) && UInt32($0, radix: 16) != nil }
    }
  }

  static var placementID: Self {
    text("1 to 32 of a-z, 0-9, _, . and -, beginning with a letter or digit") { id in
      InstanceID(validating: id) != nil && id.first.map { $0.isLetter || $0.isNumber } == true
    }
  }
}

extension String {
  /// Whether it consists of ASCII letters, digits and `others`.
  func isMade(of others: String) -> Bool {
    unicodeScalars.allSatisfy { scalar in
      scalar.isASCII
        && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || others.unicodeScalars.contains(scalar))
    }
  }
}
