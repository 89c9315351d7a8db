import Glibc

/// About how many tokens a question has, before an instance has counted them: for the fairness between users and their
/// limits, which need the order of magnitude.
///
/// Four bytes of text are one token, as English has it; for other languages it is too few by half at most. A picture is
/// base64 in the body, a thousand times as long as what a model makes of it: from a few hundred to two thousand tokens,
/// whatever its size, since models scale pictures. What is no JSON, such as sound, counts as a picture at most.
package enum QuestionTokens {
  /// What one picture counts as.
  static let ofPicture = 1000
  /// In bytes; a smaller one would count as more than its text.
  static let shortestPicture = 4 * ofPicture
  /// Under which the three APIs have pictures. What stands elsewhere is read by the model as text, however it looks.
  private static let pictureKeys: [StaticString] = ["images", "url", "image_url", "data"]

  /// - Parameter isJSON: whether the body could be read as JSON.
  package static func count(_ body: UnsafeRawBufferPointer, isJSON: Bool) -> Int {
    guard isJSON else { return min(body.count / 4, ofPicture) }
    let pictures = body.count < shortestPicture ? (count: 0, bytes: 0) : pictures(in: body)
    return (body.count - pictures.bytes) / 4 + pictures.count * ofPicture
  }

  package static func count(_ body: some Sequence<UInt8>, isJSON: Bool) -> Int {
    Array(body).withUnsafeBytes { count($0, isJSON: isJSON) }
  }

  private static func pictures(in body: UnsafeRawBufferPointer) -> (count: Int, bytes: Int) {
    var (count, bytes) = (0, 0)
    var (place, isPictureKey) = (0, false)
    while let start = quote(in: body, from: place), let end = stringEnd(in: body, from: start + 1) {
      let string = UnsafeRawBufferPointer(rebasing: body[(start + 1)..<end])
      place = end + 1
      let next = body[place...].first { $0 > UInt8(ascii: " ") }
      if next == UInt8(ascii: ":") {
        isPictureKey = pictureKeys.contains { equals(string, $0) }
      } else if isPictureKey, string.count >= shortestPicture, isBase64(string) {
        count += 1
        bytes += string.count
      }
    }
    return (count, bytes)
  }

  private static func quote(in body: UnsafeRawBufferPointer, from start: Int) -> Int? {
    guard start < body.count, let base = body.baseAddress,
      let found = memchr(base + start, Int32(UInt8(ascii: "\"")), body.count - start)
    else { return nil }
    return UnsafeRawPointer(found) - base
  }

  /// - Parameter start: behind the quote that begins the string.
  private static func stringEnd(in body: UnsafeRawBufferPointer, from start: Int) -> Int? {
    var place = start
    while let quote = quote(in: body, from: place) {
      let backslashes = body[start..<quote].reversed().prefix { $0 == UInt8(ascii: "\\") }.count
      if backslashes.isMultiple(of: 2) { return quote }
      place = quote + 1
    }
    return nil
  }

  private static func equals(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
    bytes.count == text.utf8CodeUnitCount
      && bytes.elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// As it is, or as a `data:` URL. Some escape the slash.
  private static func isBase64(_ string: UnsafeRawBufferPointer) -> Bool {
    let header = string.prefix(64).lastIndex(of: UInt8(ascii: ",")).map { $0 + 1 } ?? 0
    return string[header...].allSatisfy {
      switch $0 {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="),
        UInt8(ascii: "\\"):
        true
      default: false
      }
    }
  }
}
