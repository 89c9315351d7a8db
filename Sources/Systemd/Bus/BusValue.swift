/// A D-Bus value that knows its own signature: every type that a unit's properties use.
package indirect enum BusValue: Equatable, Sendable {
  case byte(UInt8)
  case boolean(Bool)
  case int16(Int16)
  case uint16(UInt16)
  case int32(Int32)
  case uint32(UInt32)
  case int64(Int64)
  case uint64(UInt64)
  case double(Double)
  case string(String)
  case objectPath(String)
  case signature(String)
  /// A message has a copy of its own; in what comes none is read.
  case fileDescriptor(Int32)
  /// An array of bytes, `ay`: CPU masks, addresses, journal fields.
  case bytes([UInt8])
  /// An array, with its elements' signature, which an empty one needs too.
  case array(of: String, [BusValue])
  case structure([BusValue])
  case dictionaryEntry(BusValue, BusValue)
  case variant(BusValue)

  package static func strings(_ values: [String]) -> BusValue { .array(of: "s", values.map { .string($0) }) }

  package var typeSignature: String {
    switch self {
    case .byte: "y"
    case .boolean: "b"
    case .int16: "n"
    case .uint16: "q"
    case .int32: "i"
    case .uint32: "u"
    case .int64: "x"
    case .uint64: "t"
    case .double: "d"
    case .string: "s"
    case .objectPath: "o"
    case .signature: "g"
    case .fileDescriptor: "h"
    case .bytes: "ay"
    case .array(let element, _): "a" + element
    case .structure(let fields): "(" + fields.map(\.typeSignature).joined() + ")"
    case .dictionaryEntry(let key, let value): "{" + key.typeSignature + value.typeSignature + "}"
    case .variant: "v"
    }
  }
}

/// Reading what came: each gives nil where the value is of another type.
extension BusValue {
  var unboxed: BusValue { if case .variant(let value) = self { value.unboxed } else { self } }

  var text: String? {
    switch unboxed {
    case .string(let value), .objectPath(let value), .signature(let value): value
    default: nil
    }
  }

  /// Any integer that fits, whatever its width.
  func integer<Integer: FixedWidthInteger>(as type: Integer.Type = Integer.self) -> Integer? {
    switch unboxed {
    case .byte(let value): Integer(exactly: value)
    case .int16(let value): Integer(exactly: value)
    case .uint16(let value): Integer(exactly: value)
    case .int32(let value): Integer(exactly: value)
    case .uint32(let value): Integer(exactly: value)
    case .int64(let value): Integer(exactly: value)
    case .uint64(let value): Integer(exactly: value)
    default: nil
    }
  }

  var flag: Bool? { if case .boolean(let value) = unboxed { value } else { nil } }

  var rawBytes: [UInt8]? { if case .bytes(let value) = unboxed { value } else { nil } }

  /// The elements of an array or the fields of a structure.
  var elements: [BusValue]? {
    switch unboxed {
    case .array(_, let elements), .structure(let elements): elements
    default: nil
    }
  }

  var texts: [String]? { elements?.compactMap(\.text) }

  /// A dictionary with strings for keys, its values unboxed.
  var dictionary: [String: BusValue]? {
    guard let elements else { return nil }
    var result: [String: BusValue] = [:]
    for case .dictionaryEntry(let key, let value) in elements {
      if let name = key.text { result[name] = value.unboxed }
    }
    return result
  }
}
