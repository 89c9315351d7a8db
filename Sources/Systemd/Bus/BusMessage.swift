import CSystemd
import Glibc

/// Writing values into sd-bus messages and reading them out. The variadic `sd_bus_message_append` and `_read` do not
/// exist in Swift, so containers are opened and closed one by one.
enum BusMessage {
  static func append(_ value: BusValue, to message: OpaquePointer) throws(SystemdError) {
    switch value {
    case .byte(let value): try append(value, SD_BUS_TYPE_BYTE, to: message)
    // sd-bus reads a boolean through a pointer to a C int.
    case .boolean(let value): try append(CInt(value ? 1 : 0), SD_BUS_TYPE_BOOLEAN, to: message)
    case .int16(let value): try append(value, SD_BUS_TYPE_INT16, to: message)
    case .uint16(let value): try append(value, SD_BUS_TYPE_UINT16, to: message)
    case .int32(let value): try append(value, SD_BUS_TYPE_INT32, to: message)
    case .uint32(let value): try append(value, SD_BUS_TYPE_UINT32, to: message)
    case .int64(let value): try append(value, SD_BUS_TYPE_INT64, to: message)
    case .uint64(let value): try append(value, SD_BUS_TYPE_UINT64, to: message)
    case .double(let value): try append(value, SD_BUS_TYPE_DOUBLE, to: message)
    case .string(let text): try append(text: text, SD_BUS_TYPE_STRING, to: message)
    case .objectPath(let text): try append(text: text, SD_BUS_TYPE_OBJECT_PATH, to: message)
    case .signature(let text): try append(text: text, SD_BUS_TYPE_SIGNATURE, to: message)
    case .fileDescriptor(let value): try append(value, SD_BUS_TYPE_UNIX_FD, to: message)
    case .bytes(let bytes):
      let result = sd_bus_message_append_array(message, CChar(SD_BUS_TYPE_BYTE), bytes, bytes.count)
      try check(result, "appending \(bytes.count) bytes")
    case .array(let element, let values):
      try append(values, in: SD_BUS_TYPE_ARRAY, contents: element, to: message)
    case .structure(let fields):
      try append(fields, in: SD_BUS_TYPE_STRUCT, contents: fields.map(\.typeSignature).joined(), to: message)
    case .dictionaryEntry(let key, let value):
      let contents = key.typeSignature + value.typeSignature
      try append([key, value], in: SD_BUS_TYPE_DICT_ENTRY, contents: contents, to: message)
    case .variant(let value):
      try append([value], in: SD_BUS_TYPE_VARIANT, contents: value.typeSignature, to: message)
    }
  }

  private static func append<Value: BitwiseCopyable>(
    _ value: Value, _ type: Int, to message: OpaquePointer
  ) throws(SystemdError) {
    var value = value
    try check(sd_bus_message_append_basic(message, CChar(type), &value), "appending \(value)")
  }

  private static func append(text: String, _ type: Int, to message: OpaquePointer) throws(SystemdError) {
    guard !text.utf8.contains(0) else {
      throw SystemdError(.invalidArguments, "a NUL character in '\(text)'", operation: "D-Bus message")
    }
    try check(sd_bus_message_append_basic(message, CChar(type), text), "appending '\(text)'")
  }

  private static func append(
    _ values: [BusValue], in container: Int, contents: String, to message: OpaquePointer
  ) throws(SystemdError) {
    try check(sd_bus_message_open_container(message, CChar(container), contents), "opening \(contents)")
    for value in values { try append(value, to: message) }
    try check(sd_bus_message_close_container(message), "closing \(contents)")
  }

  /// All values of a message that has been received, or sealed and rewound.
  static func read(_ message: OpaquePointer) throws(SystemdError) -> [BusValue] {
    var values: [BusValue] = []
    while let value = try next(in: message) { values.append(value) }
    return values
  }

  private static func next(in message: OpaquePointer) throws(SystemdError) -> BusValue? {
    var type: CChar = 0
    var contents: UnsafePointer<CChar>?
    let more = sd_bus_message_peek_type(message, &type, &contents)
    try check(more, "reading a type")
    guard more > 0 else { return nil }
    switch Int(type) {
    case SD_BUS_TYPE_BYTE: return .byte(try basic(message, type, 0))
    case SD_BUS_TYPE_BOOLEAN: return .boolean(try basic(message, type, CInt(0)) != 0)
    case SD_BUS_TYPE_INT16: return .int16(try basic(message, type, 0))
    case SD_BUS_TYPE_UINT16: return .uint16(try basic(message, type, 0))
    case SD_BUS_TYPE_INT32: return .int32(try basic(message, type, 0))
    case SD_BUS_TYPE_UINT32: return .uint32(try basic(message, type, 0))
    case SD_BUS_TYPE_INT64: return .int64(try basic(message, type, 0))
    case SD_BUS_TYPE_UINT64: return .uint64(try basic(message, type, 0))
    case SD_BUS_TYPE_DOUBLE: return .double(try basic(message, type, 0))
    case SD_BUS_TYPE_STRING: return .string(try text(message, type))
    case SD_BUS_TYPE_OBJECT_PATH: return .objectPath(try text(message, type))
    case SD_BUS_TYPE_SIGNATURE: return .signature(try text(message, type))
    default: return try container(message, type, contents.map { String(cString: $0) } ?? "")
    }
  }

  private static func container(
    _ message: OpaquePointer, _ type: CChar, _ contents: String
  ) throws(SystemdError) -> BusValue {
    if Int(type) == SD_BUS_TYPE_ARRAY, contents == "y" {
      var start: UnsafeRawPointer?
      var count = 0
      try check(sd_bus_message_read_array(message, CChar(SD_BUS_TYPE_BYTE), &start, &count), "reading bytes")
      return .bytes(Array(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count)))
    }
    try check(sd_bus_message_enter_container(message, type, contents), "entering \(contents)")
    let values = try read(message)
    try check(sd_bus_message_exit_container(message), "leaving \(contents)")
    switch (Int(type), values.count) {
    case (SD_BUS_TYPE_ARRAY, _): return .array(of: contents, values)
    case (SD_BUS_TYPE_STRUCT, _): return .structure(values)
    case (SD_BUS_TYPE_DICT_ENTRY, 2): return .dictionaryEntry(values[0], values[1])
    case (SD_BUS_TYPE_VARIANT, 1): return .variant(values[0])
    default:
      throw SystemdError(.unexpectedReply, "the D-Bus type '\(contents)' is not known", operation: "D-Bus message")
    }
  }

  private static func basic<Value: BitwiseCopyable>(
    _ message: OpaquePointer, _ type: CChar, _ initial: Value
  ) throws(SystemdError) -> Value {
    var value = initial
    try check(sd_bus_message_read_basic(message, type, &value), "reading a value")
    return value
  }

  private static func text(_ message: OpaquePointer, _ type: CChar) throws(SystemdError) -> String {
    // The characters belong to the message: copied at once.
    var characters: UnsafePointer<CChar>?
    try check(sd_bus_message_read_basic(message, type, &characters), "reading a string")
    return characters.map { String(cString: $0) } ?? ""
  }

  static func check(_ result: CInt, _ what: @autoclosure () -> String) throws(SystemdError) {
    if result < 0 { throw SystemdError(errno: result, operation: "D-Bus message, " + what()) }
  }
}
