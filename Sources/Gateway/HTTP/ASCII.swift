/// Small questions about bytes of HTTP heads.
enum ASCII {
  /// Whether `range` is `text`, which is in lower case, ignoring the case of letters.
  static func matches(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, _ text: StaticString) -> Bool {
    range.count == text.utf8CodeUnitCount && hasPrefix(bytes, range, text)
  }

  /// Whether `range` begins with `text`, which is in lower case, ignoring the case of letters.
  static func hasPrefix(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, _ text: StaticString) -> Bool {
    let length = text.utf8CodeUnitCount
    guard range.count >= length else { return false }
    for offset in 0..<length where lowercased(bytes[range.lowerBound + offset]) != text.utf8Start[offset] {
      return false
    }
    return true
  }

  static func lowercased(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
  }

  static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }

  /// A `tchar` of RFC 9110, 5.6.2.
  static func isToken(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
      UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
      UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
      true
    default: false
    }
  }

  /// Whether `range` has no control character but the tab.
  static func isFieldText(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> Bool {
    for index in range where bytes[index] < 32 && bytes[index] != 9 || bytes[index] == 127 { return false }
    return true
  }

  /// A number of 1 to 18 decimal digits and nothing else.
  static func decimal(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> Int? {
    guard (1...18).contains(range.count) else { return nil }
    var number = 0
    for index in range {
      guard case UInt8(ascii: "0")...UInt8(ascii: "9") = bytes[index] else { return nil }
      number = number * 10 + Int(bytes[index] - UInt8(ascii: "0"))
    }
    return number
  }

  /// The elements of a comma-separated list, without the white space around them; empty ones are left out.
  static func forEachListed(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
    var start = range.lowerBound
    while start < range.upperBound {
      var end = start
      while end < range.upperBound, bytes[end] != UInt8(ascii: ",") { end += 1 }
      var element = start..<end
      while let first = element.first, isBlank(bytes[first]) { element = (first + 1)..<element.upperBound }
      while let last = element.last, isBlank(bytes[last]) { element = element.lowerBound..<last }
      if !element.isEmpty { body(element) }
      start = end + 1
    }
  }

  /// Whether a comma-separated list has the element `name`, ignoring case.
  static func lists(
    _ bytes: UnsafeRawBufferPointer, _ list: Range<Int>, _ names: UnsafeRawBufferPointer, _ name: Range<Int>
  ) -> Bool {
    var found = false
    forEachListed(bytes, list) { element in
      guard element.count == name.count else { return }
      found =
        found
        || zip(element, name).allSatisfy { lowercased(bytes[$0]) == lowercased(names[$1]) }
    }
    return found
  }
}
