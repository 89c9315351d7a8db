import FoundationEssentials

/// What `/api/ps` answers: the models that an instance holds in memory.
package enum ProcessList {
  package struct Entry: Sendable, Hashable, Decodable {
    package let name: String
    package let digest: String
    /// Bytes, in all memories.
    package let size: Int64
    /// Bytes of them in GPU memory: 0 means that the CPU does all the work.
    package let sizeVRAM: Int64
    /// As Ollama writes it: RFC 3339 with nanoseconds.
    package let expiresAt: String?
    /// Tokens.
    package let contextLength: Int?

    private enum CodingKeys: String, CodingKey {
      case name, digest, size
      case sizeVRAM = "size_vram"
      case expiresAt = "expires_at"
      case contextLength = "context_length"
    }

    package init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      name = try container.decode(String.self, forKey: .name)
      digest = try container.decodeIfPresent(String.self, forKey: .digest) ?? ""
      size = try container.decodeIfPresent(Int64.self, forKey: .size) ?? 0
      sizeVRAM = try container.decodeIfPresent(Int64.self, forKey: .sizeVRAM) ?? 0
      expiresAt = try container.decodeIfPresent(String.self, forKey: .expiresAt)
      contextLength = try container.decodeIfPresent(Int.self, forKey: .contextLength)
    }
  }

  private struct Body: Decodable { let models: [Entry]? }

  /// The models in an answer; nil when it is none.
  package static func parse(_ body: [UInt8]) -> [Entry]? {
    guard let list = try? JSONDecoder().decode(Body.self, from: Data(body)) else { return nil }
    return list.models ?? []
  }

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
