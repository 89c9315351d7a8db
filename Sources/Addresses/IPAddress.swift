import Glibc

/// An address of either version, for comparing and classing.
package struct IPAddress: Hashable, Sendable {
  /// 4 or 16; an IPv4 address mapped into IPv6 has 4.
  package let bytes: [UInt8]

  init(bytes: [UInt8]) { self.bytes = bytes }

  /// Reads dotted IPv4, or IPv6 with or without a zone.
  package init?(_ text: some StringProtocol) {
    let address = String(text.prefix { $0 != "%" })
    var buffer = [UInt8](repeating: 0, count: 16)
    if inet_pton(AF_INET, address, &buffer) == 1 {
      self.init(bytes: Array(buffer.prefix(4)))
    } else if inet_pton(AF_INET6, address, &buffer) == 1 {
      self.init(ofIPv6: buffer)
    } else {
      return nil
    }
  }

  /// The four bytes of an IPv4 address, or the sixteen of an IPv6 one, as a socket has them; nil for others.
  package init?(ofSocket bytes: [UInt8]) {
    switch bytes.count {
    case 4: self.init(bytes: bytes)
    case 16: self.init(ofIPv6: bytes)
    default: return nil
    }
  }

  private init(ofIPv6 bytes: [UInt8]) {
    let isMapped = bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
    self.init(bytes: isMapped ? Array(bytes.suffix(4)) : bytes)
  }

  package var isIPv4: Bool { bytes.count == 4 }
  package var isUnspecified: Bool { bytes.allSatisfy { $0 == 0 } }
  package var isLoopback: Bool {
    isIPv4 ? bytes[0] == 127 : bytes.dropLast().allSatisfy { $0 == 0 } && bytes[15] == 1
  }

  /// RFC 1918 and RFC 4193.
  package var isPrivate: Bool {
    guard isIPv4 else { return bytes[0] & 0xFE == 0xFC }
    return switch (bytes[0], bytes[1]) {
    case (10, _), (172, 16...31), (192, 168): true
    default: false
    }
  }
}

extension IPAddress: CustomStringConvertible {
  package var description: String {
    var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    _ = bytes.withUnsafeBytes {
      inet_ntop(isIPv4 ? AF_INET : AF_INET6, $0.baseAddress, &buffer, socklen_t(buffer.count))
    }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
