/// A file's path, whatever bytes its names are of: Linux asks for no encoding.
struct DocumentPath: Comparable {
  let bytes: [UInt8]

  /// What lies in a folder.
  func appending(_ name: [UInt8]) -> DocumentPath {
    DocumentPath(bytes: bytes.last == Self.separator ? bytes + name : bytes + [Self.separator] + name)
  }

  private static let separator = UInt8(ascii: "/")

  /// The last part.
  var name: [UInt8] { bytes.split(separator: Self.separator).last.map { Array($0) } ?? [] }

  static func < (one: DocumentPath, other: DocumentPath) -> Bool { one.bytes.lexicographicallyPrecedes(other.bytes) }

  /// As the system takes it.
  var cString: [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }

  /// As the index has it and as it is shown. What is not UTF-8 stands there as `\xE9`, and a backslash as two, so that
  /// no two paths have the same text.
  var text: String {
    var text = ""
    var parser = Unicode.UTF8.ForwardParser()
    var (next, rest) = (bytes.makeIterator(), bytes[...])
    while true {
      switch parser.parseScalar(from: &next) {
      case .emptyInput: return text
      case .valid(let scalar):
        let scalar = Unicode.UTF8.decode(scalar)
        text.unicodeScalars.append(scalar)
        if scalar == "\\" { text += "\\" }
        rest = rest.dropFirst(Unicode.UTF8.width(scalar))
      case .error(let length):
        for byte in rest.prefix(length) { text += "\\x" + String(byte, radix: 16, uppercase: true) }
        rest = rest.dropFirst(length)
      }
    }
  }
}
