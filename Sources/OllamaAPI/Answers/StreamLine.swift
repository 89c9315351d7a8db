import Glibc

/// What one line of a stream says of the stream's end.
enum StreamLine {
  /// Whether a JSON object's first member is an `error` that is not null.
  static func beginsWithError(_ line: UnsafeRawBufferPointer) -> Bool {
    var isError = false
    var scanner = JSONScanner(line)
    guard scanner.take(UInt8(ascii: "{")), let key = scanner.string(), line[key].elementsEqual("error".utf8) else {
      return false
    }
    if scanner.take(UInt8(ascii: ":")), let first = scanner.peek() { isError = first != UInt8(ascii: "n") }
    return isError
  }

  /// Whether a JSON object has the member `"done":true`.
  static func isDone(_ line: UnsafeRawBufferPointer) -> Bool {
    // Nearly every line of generate and chat ends so; the others are worth a walk over their members.
    !ends(line, with: "\"done\":false}") && member("done", of: line, is: "true")
  }

  /// Whether a JSON object has the member `"status":"success"`.
  static func isSuccess(_ line: UnsafeRawBufferPointer) -> Bool { member("status", of: line, is: "\"success\"") }

  /// What a line of server-sent events means for the stream; nil for nothing.
  static func meaning(ofEventLine line: UnsafeRawBufferPointer, anthropic: Bool) -> StreamEnd.Outcome? {
    if let name = value(of: "event:", in: line) {
      let endings: [StaticString] = anthropic ? ["message_stop"] : ["response.completed", "response.incomplete"]
      if endings.contains(where: { equals(name, $0) }) { return .complete }
      let failures: [StaticString] = anthropic ? ["error"] : ["error", "response.failed"]
      if failures.contains(where: { equals(name, $0) }) { return .failedInBand }
      return nil
    }
    guard !anthropic, let data = value(of: "data:", in: line) else { return nil }
    if equals(data, "[DONE]") { return .complete }
    return beginsWithError(data) ? .failedInBand : nil
  }

  /// How many tokens the question had, as the last line of generate and chat says.
  static func questionTokens(_ line: UnsafeRawBufferPointer) -> Int? { integer("prompt_eval_count", of: line) }

  /// How many tokens the answer had, as the last line of generate and chat says.
  static func answerTokens(_ line: UnsafeRawBufferPointer) -> Int? { integer("eval_count", of: line) }

  private static func integer(_ key: StaticString, of line: UnsafeRawBufferPointer) -> Int? {
    var number: Int?
    find(key, in: line) { value in
      number = JSONText.integer(line[value])
      return true
    }
    return number
  }

  private static func member(_ key: StaticString, of line: UnsafeRawBufferPointer, is value: StaticString) -> Bool {
    var found = false
    find(key, in: line) { content in
      found = equals(UnsafeRawBufferPointer(rebasing: line[content]), value)
      return found
    }
    return found
  }

  /// - Parameter isEnough: gets the range of each value of this member.
  private static func find(_ key: StaticString, in line: UnsafeRawBufferPointer, _ isEnough: (Range<Int>) -> Bool) {
    var scanner = JSONScanner(line)
    // The window may have cut the line behind the member, so the object need not be closed.
    _ = scanner.members { name, value in
      !equals(UnsafeRawBufferPointer(rebasing: line[name]), key) || !isEnough(value)
    }
  }

  /// The value of an event stream's field, without the white space around it.
  private static func value(of field: StaticString, in line: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    let length = field.utf8CodeUnitCount
    guard line.count >= length, let base = line.baseAddress, memcmp(base, field.utf8Start, length) == 0 else {
      return nil
    }
    var rest = line[length...]
    while let first = rest.first, isBlank(first) { rest = rest.dropFirst() }
    while let last = rest.last, isBlank(last) { rest = rest.dropLast() }
    return UnsafeRawBufferPointer(rebasing: rest)
  }

  private static func isBlank(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\r") || byte == UInt8(ascii: "\t")
  }

  private static func equals(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
    guard bytes.count == text.utf8CodeUnitCount else { return false }
    guard let base = bytes.baseAddress else { return true }
    return memcmp(base, text.utf8Start, bytes.count) == 0
  }

  private static func ends(_ line: UnsafeRawBufferPointer, with text: StaticString) -> Bool {
    let length = text.utf8CodeUnitCount
    guard line.count >= length, let base = line.baseAddress else { return false }
    return memcmp(base + (line.count - length), text.utf8Start, length) == 0
  }
}
