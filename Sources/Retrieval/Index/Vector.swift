import FoundationEssentials

/// An embedding as the index keeps it: of length 1, so that a product of two is the cosine of the angle between them.
package struct Vector: Equatable, Sendable {
  package let numbers: [Float]

  /// - Returns: nil for one that has no direction, is no number somewhere, or is longer than any model's.
  package init?(_ numbers: [Float]) {
    let length = numbers.reduce(into: Double(0)) { $0 += Double($1) * Double($1) }.squareRoot()
    guard IndexSchema.dimensions ~= numbers.count, length.isFinite, length > 0 else { return nil }
    self.numbers = numbers.map { Float(Double($0) / length) }
  }

  /// As little-endian floats.
  var data: Data {
    var data = Data(capacity: numbers.count * 4)
    for number in numbers { withUnsafeBytes(of: number.bitPattern.littleEndian) { data.append(contentsOf: $0) } }
    return data
  }

  /// The cosine with another one that is written down, from -1 to 1; nil where that is of another length.
  func cosine(_ stored: UnsafeRawBufferPointer) -> Float? {
    guard stored.count == numbers.count * 4 else { return nil }
    return numbers.withUnsafeBytes { own in
      // SQLite aligns nothing.
      let width = MemoryLayout<SIMD8<Float>>.size
      var sums = SIMD8<Float>(repeating: 0)
      var offset = 0
      while offset + width <= stored.count {
        sums +=
          own.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
          * stored.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
        offset += width
      }
      var sum = sums.sum()
      while offset < stored.count {
        sum +=
          own.loadUnaligned(fromByteOffset: offset, as: Float.self)
          * stored.loadUnaligned(fromByteOffset: offset, as: Float.self)
        offset += 4
      }
      return sum
    }
  }
}
