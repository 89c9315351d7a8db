/// A number of bytes, written as `512MiB`, `64MB` or plain bytes.
package struct ByteCount: Sendable, Hashable, Comparable {
  package var bytes: Int

  package init(bytes: Int) { self.bytes = bytes }

  package static func mebibytes(_ count: Int) -> ByteCount { ByteCount(bytes: count << 20) }

  package static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }

  private static let units: [(name: String, bytes: Int)] = [
    ("TiB", 1 << 40), ("TB", 1_000_000_000_000), ("GiB", 1 << 30), ("GB", 1_000_000_000),
    ("MiB", 1 << 20), ("MB", 1_000_000), ("KiB", 1 << 10), ("kB", 1_000), ("B", 1),
  ]

  /// A whole number with a unit of any case, or without one; `nil` for anything else, and beyond `Int`.
  package init?(parsing text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unitName = text.dropFirst(digits.count).lowercased()
    guard let count = Int(digits),
      let unit = unitName.isEmpty ? 1 : Self.units.first(where: { $0.name.lowercased() == unitName })?.bytes
    else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: unit)
    guard !overflow else { return nil }
    bytes = product
  }
}

extension ByteCount: CustomStringConvertible {
  /// The shortest exact form; of equally short ones the larger unit's.
  package var description: String {
    guard bytes > 0 else { return "\(bytes)" }
    let exact = Self.units.filter { bytes % $0.bytes == 0 && $0.bytes > 1 }.map { "\(bytes / $0.bytes)\($0.name)" }
    return exact.min { $0.count < $1.count } ?? "\(bytes)"
  }
}
