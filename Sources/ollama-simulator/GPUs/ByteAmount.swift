import ArgumentParser

/// An amount of memory, as people and the state file write it: 80GiB, 512MiB, or bytes.
struct ByteAmount: Sendable, Equatable {
  let bytes: Int

  init(bytes: Int) { self.bytes = bytes }

  private static let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)]

  init?(_ text: String) {
    for (unit, size) in Self.units where text.hasSuffix(unit) {
      guard let number = Int(text.dropLast(unit.count)), number >= 0 else { continue }
      let (bytes, overflows) = number.multipliedReportingOverflow(by: size)
      if overflows { return nil }
      self.bytes = bytes
      return
    }
    return nil
  }
}

extension ByteAmount: ExpressibleByArgument, CustomStringConvertible {
  init?(argument: String) { self.init(argument) }

  var description: String { bytes % (1 << 30) == 0 ? "\(bytes >> 30)GiB" : "\(bytes)" }
}
