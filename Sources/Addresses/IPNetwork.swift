/// All addresses that begin with the same bits.
package struct IPNetwork: Hashable, Sendable {
  /// The first of them.
  package let address: IPAddress
  /// How many bits they have in common.
  package let prefix: Int

  /// - Precondition: `prefix` is no more than the bits of an address.
  package init(_ address: IPAddress, prefix: Int) {
    self.prefix = prefix
    self.address = IPAddress(
      bytes: address.bytes.enumerated().map { index, byte in
        byte & Self.mask(ofByte: index, prefix: prefix)
      })
  }

  /// `ADDRESS/BITS`, or an address alone. What lies beyond the bits must be zero: it would mean nothing.
  package init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let address = IPAddress(parts[0]), !parts[0].contains("%") else { return nil }
    let most = address.bytes.count * 8
    guard parts.count == 2 else {
      self.init(address, prefix: most)
      return
    }
    guard let prefix = Int(parts[1]), 0...most ~= prefix, parts[1].allSatisfy({ $0.isASCII && $0.isNumber }) else {
      return nil
    }
    self.init(address, prefix: prefix)
    guard self.address == address else { return nil }
  }

  package func contains(_ other: IPAddress) -> Bool {
    other.bytes.count == address.bytes.count && IPNetwork(other, prefix: prefix).address == address
  }

  /// The bits of a byte that belong to the prefix.
  private static func mask(ofByte index: Int, prefix: Int) -> UInt8 {
    let bits = min(8, max(0, prefix - 8 * index))
    return bits == 0 ? 0 : UInt8.max << (8 - bits)
  }
}

extension IPNetwork: CustomStringConvertible {
  package var description: String { prefix == address.bytes.count * 8 ? "\(address)" : "\(address)/\(prefix)" }
}
