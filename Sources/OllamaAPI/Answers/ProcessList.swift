package import PoolCore

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

  /// More models than these are not looked at.
  static let mostModels = 256
  /// Bytes that a model may claim to take; tokens of its context.
  private static let sizes = 0...(1 << 50)
  private static let contextLengths = 0...(1 << 31)

  /// The models that `body` lists, by their normalised names; nil where it is no list. What makes no sense is left out.
  package static func models(_ body: [UInt8]) -> [LoadedModel]? {
    body.withUnsafeBytes { bytes in
      list(bytes).map { $0.prefix(mostModels).compactMap { model(UnsafeRawBufferPointer(rebasing: bytes[$0])) } }
    }
  }

  private static func model(_ text: UnsafeRawBufferPointer) -> LoadedModel? {
    var name: String?
    var (size, sizeOnGPU): (Int?, Int?) = (nil, nil)
    var contextLength: Int? = 0
    var scanner = JSONScanner(text)
    let end = scanner.members { key, value in
      let (key, value) = (text[key], text[value])
      if JSONText.key(key, is: "name") {
        name = string(value) ?? name
      } else if JSONText.key(key, is: "model") {
        name = name ?? string(value)
      } else if JSONText.key(key, is: "size") {
        size = JSONText.integer(value)
      } else if JSONText.key(key, is: "size_vram") {
        sizeOnGPU = JSONText.integer(value)
      } else if JSONText.key(key, is: "context_length") {
        contextLength = JSONText.integer(value)
      }
      return true
    }
    guard case .closed = end, let name, let size, let sizeOnGPU, let contextLength, sizes.contains(size),
      sizes.contains(sizeOnGPU), contextLengths.contains(contextLength)
    else { return nil }
    return LoadedModel(
      name: ModelName.key(of: name), size: size, sizeOnGPU: min(size, sizeOnGPU),
      contextLength: contextLength == 0 ? nil : contextLength)
  }

  /// nil for what is no name.
  static func string(_ value: Slice<UnsafeRawBufferPointer>) -> String? {
    guard value.first == UInt8(ascii: "\""), value.count > 2, value.count <= RequestFields.longestModel else {
      return nil
    }
    return JSONText.unescaped(value.dropFirst().dropLast())
  }

  private static func elements(_ body: UnsafeRawBufferPointer) -> [Range<Int>] { list(body) ?? [] }

  /// Where the entries of `models` stand; nil for what is no list.
  static func list(_ body: UnsafeRawBufferPointer) -> [Range<Int>]? {
    var list: Range<Int>?
    var scanner = JSONScanner(body)
    let end = scanner.members { key, value in
      if JSONText.key(body[key], names: "models") { list = value }
      return true
    }
    guard case .closed = end, let list else { return nil }
    var array = JSONScanner(UnsafeRawBufferPointer(rebasing: body[list]))
    return array.elements()?.map { $0.lowerBound + list.lowerBound..<$0.upperBound + list.lowerBound }
  }
}
