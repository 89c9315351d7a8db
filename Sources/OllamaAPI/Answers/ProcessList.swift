/// What `/api/ps` answers: the models that an instance holds in memory.
package enum ProcessList {
  /// One answer that lists what all of `bodies` list, byte for byte; a body that is no list is left out.
  package static func merge(_ bodies: [[UInt8]]) -> [UInt8] {
    var merged = Array("{\"models\":[".utf8)
    var isFirst = true
    for body in bodies {
      body.withUnsafeBytes { bytes in
        for element in elements(bytes) {
          if !isFirst { merged.append(UInt8(ascii: ",")) }
          isFirst = false
          merged.append(contentsOf: bytes[element])
        }
      }
    }
    merged.append(contentsOf: "]}".utf8)
    return merged
  }

  private static func elements(_ body: UnsafeRawBufferPointer) -> [Range<Int>] {
    var list: Range<Int>?
    var scanner = JSONScanner(body)
    let end = scanner.members { key, value in
      if JSONText.key(body[key], names: "models") { list = value }
      return true
    }
    guard case .closed = end, let list else { return [] }
    var array = JSONScanner(UnsafeRawBufferPointer(rebasing: body[list]))
    return (array.elements() ?? []).map { $0.lowerBound + list.lowerBound..<$0.upperBound + list.lowerBound }
  }
}
