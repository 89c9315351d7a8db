import Glibc

/// The head of an instance's answer, decoded once and strictly. A value without I/O.
///
/// Ranges are offsets into the bytes that ``parse(_:from:isHead:)`` was given.
struct ResponseHead: Hashable, Sendable {
  /// How the end of the body is found (RFC 9112, 6.3).
  enum Framing: Hashable, Sendable {
    /// There is no body, whatever the fields say.
    case none
    case length(Int)
    case chunked
    /// The end of the connection is the end of the body.
    case untilClose
  }

  struct Field: Hashable, Sendable {
    let name: Range<Int>
    /// Without the white space around it.
    let value: Range<Int>
    let kind: Kind
  }

  /// The fields that matter to a relay.
  enum Kind: Hashable, Sendable {
    case contentLength, transferEncoding, connection, contentType
    /// Belongs to this connection alone (RFC 9110, 7.6.1), or is the gateway's to give.
    case dropped
    case other
  }

  var status = 0
  var reason = 0..<0
  var fields: [Field] = []
  var framing = Framing.none
  /// Whether the connection may be used again after this answer.
  var keepsAlive = true
  /// What `Content-Length` says, also where no body follows.
  var announcedLength: Int?
  /// The offset just behind the blank line.
  var end = 0

  /// What one head may take, and one field section of trailers.
  static let byteLimit = 64 << 10
  static let fieldLimit = 256

  /// Reads the head that begins at `start`.
  ///
  /// - Parameters:
  ///   - isHead: whether the request was one, so that no body follows.
  /// - Returns: nil while its end hasn't come.
  static func parse(
    _ bytes: UnsafeRawBufferPointer, from start: Int = 0, isHead: Bool
  ) throws(ResponseError) -> ResponseHead? {
    guard let end = fieldSectionEnd(bytes, from: start) else {
      if bytes.count - start > byteLimit { throw .headTooLong }
      return nil
    }
    if end - start > byteLimit { throw .headTooLong }
    var head = ResponseHead()
    head.end = end
    head.fields.reserveCapacity(12)
    var position = start
    let statusLine = try line(bytes, at: &position)
    let isHTTP10 = try head.readStatusLine(bytes, statusLine)
    while true {
      let line = try line(bytes, at: &position)
      if line.isEmpty { break }
      guard head.fields.count < fieldLimit else { throw .headTooLong }
      head.fields.append(try field(bytes, line))
    }
    try head.decideFraming(bytes, isHTTP10: isHTTP10, isHead: isHead)
    return head
  }

  /// The offset behind the blank line that ends a section of lines; nil while it isn't there.
  static func fieldSectionEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
    guard let base = bytes.baseAddress else { return nil }
    var position = start
    while position < bytes.count, let found = memchr(base + position, 10, bytes.count - position) {
      let feed = UnsafeRawPointer(found) - base
      // A blank line with a bare line feed counts here, and is refused when the lines are read.
      let contentEnd = feed > position && bytes[feed - 1] == 13 ? feed - 1 : feed
      if contentEnd == position { return feed + 1 }
      position = feed + 1
    }
    return nil
  }

  /// The line at `position`, without its CR LF; moves `position` behind it.
  private static func line(
    _ bytes: UnsafeRawBufferPointer, at position: inout Int
  ) throws(ResponseError) -> Range<Int> {
    guard position < bytes.count, let base = bytes.baseAddress,
      let found = memchr(base + position, 10, bytes.count - position)
    else { throw .badLineEnd }
    let start = position
    let feed = UnsafeRawPointer(found) - base
    guard feed > start, bytes[feed - 1] == 13 else { throw .badLineEnd }
    position = feed + 1
    return start..<(feed - 1)
  }

  /// - Returns: whether it is HTTP/1.0.
  private mutating func readStatusLine(
    _ bytes: UnsafeRawBufferPointer, _ line: Range<Int>
  ) throws(ResponseError) -> Bool {
    let begin = line.lowerBound
    guard line.count >= 12, ASCII.matches(bytes, begin..<begin + 7, "http/1."), bytes[begin] == UInt8(ascii: "H"),
      bytes[begin + 7] == UInt8(ascii: "0") || bytes[begin + 7] == UInt8(ascii: "1"), bytes[begin + 8] == 32,
      let status = ASCII.decimal(bytes, begin + 9..<begin + 12), (100..<600).contains(status),
      line.count == 12 || bytes[begin + 12] == 32
    else { throw .badStatusLine }
    self.status = status
    reason = min(begin + 13, line.upperBound)..<line.upperBound
    guard ASCII.isFieldText(bytes, reason) else { throw .badStatusLine }
    return bytes[begin + 7] == UInt8(ascii: "0")
  }

  /// Reads one field; folded lines and white space before the colon are refused (RFC 9112, 5).
  static func field(_ bytes: UnsafeRawBufferPointer, _ line: Range<Int>) throws(ResponseError) -> Field {
    var colon = line.lowerBound
    while colon < line.upperBound, ASCII.isToken(bytes[colon]) { colon += 1 }
    guard colon > line.lowerBound, colon < line.upperBound, bytes[colon] == UInt8(ascii: ":") else { throw .badField }
    var value = (colon + 1)..<line.upperBound
    guard ASCII.isFieldText(bytes, value) else { throw .badField }
    while let first = value.first, ASCII.isBlank(bytes[first]) { value = (first + 1)..<value.upperBound }
    while let last = value.last, ASCII.isBlank(bytes[last]) { value = value.lowerBound..<last }
    let name = line.lowerBound..<colon
    return Field(name: name, value: value, kind: kind(bytes, name))
  }

  private static func kind(_ bytes: UnsafeRawBufferPointer, _ name: Range<Int>) -> Kind {
    func named(_ text: StaticString) -> Bool { ASCII.matches(bytes, name, text) }
    // The first letter decides for nearly all fields.
    switch bytes[name.lowerBound] | 0x20 {
    case UInt8(ascii: "c"):
      if named("content-length") { return .contentLength }
      if named("content-type") { return .contentType }
      if named("connection") { return .connection }
    case UInt8(ascii: "t"):
      if named("transfer-encoding") { return .transferEncoding }
      if named("te") || named("trailer") { return .dropped }
    case UInt8(ascii: "k"): if named("keep-alive") { return .dropped }
    case UInt8(ascii: "u"): if named("upgrade") { return .dropped }
    case UInt8(ascii: "p"):
      if named("proxy-connection") || named("proxy-authenticate") || named("proxy-authentication-info") {
        return .dropped
      }
    case UInt8(ascii: "x"): if named("x-request-id") { return .dropped }
    case UInt8(ascii: "a"): if ASCII.hasPrefix(bytes, name, "access-control-") { return .dropped }
    default: break
    }
    return .other
  }

  /// RFC 9112, 6.3, and stricter: what is ambiguous is refused, not repaired.
  private mutating func decideFraming(
    _ bytes: UnsafeRawBufferPointer, isHTTP10: Bool, isHead: Bool
  ) throws(ResponseError) {
    var isChunked = false
    keepsAlive = !isHTTP10
    for field in fields {
      switch field.kind {
      case .contentLength:
        guard announcedLength == nil else { throw .severalLengths }
        guard let length = ASCII.decimal(bytes, field.value) else { throw .badLength }
        announcedLength = length
      case .transferEncoding:
        guard !isChunked, !isHTTP10, ASCII.matches(bytes, field.value, "chunked") else { throw .unknownCoding }
        isChunked = true
      case .connection:
        ASCII.forEachListed(bytes, field.value) { if ASCII.matches(bytes, $0, "close") { keepsAlive = false } }
      case .contentType, .dropped, .other: break
      }
    }
    if isChunked, announcedLength != nil { throw .lengthAndCoding }
    if status == 101 { throw .unwantedUpgrade }
    if isHead || status < 200 || status == 204 || status == 304 {
      framing = .none
    } else if isChunked {
      framing = .chunked
    } else if let announcedLength {
      framing = announcedLength == 0 ? .none : .length(announcedLength)
    } else {
      framing = .untilClose
      keepsAlive = false
    }
  }
}

extension ResponseHead {
  /// The fields that the answer's receiver gets as they are: all but those of this connection, those that
  /// `Connection` names, and those that frame the body, which the sender makes anew.
  func endToEndFields(_ bytes: UnsafeRawBufferPointer) -> [Field] {
    let named = fields.filter { $0.kind == .connection }
    return fields.filter { field in
      guard field.kind == .other || field.kind == .contentType else { return false }
      return !named.contains { ASCII.lists(bytes, $0.value, bytes, field.name) }
    }
  }

  /// The value of the first `Content-Type`.
  func contentType(_ bytes: UnsafeRawBufferPointer) -> String? {
    fields.first { $0.kind == .contentType }.map { String(decoding: bytes[$0.value], as: UTF8.self) }
  }
}

/// Why an answer is no valid HTTP.
enum ResponseError: String, Error, Hashable, Sendable {
  case headTooLong = "its head is longer than 64 KiB or has more than 256 fields"
  case badLineEnd = "a line of its head ends without CR LF"
  case badStatusLine = "its status line is malformed"
  case badField = "a header field is malformed"
  case badLength = "its Content-Length is no number"
  case severalLengths = "it has several Content-Length fields"
  case lengthAndCoding = "it has both Content-Length and Transfer-Encoding"
  case unknownCoding = "its Transfer-Encoding is not just `chunked`"
  case unwantedUpgrade = "it switches protocols unasked"
  case tooManyInterim = "it has too many interim answers"
  case badChunkSize = "a chunk's size line is malformed or absurd"
  case badChunkEnd = "a chunk is not followed by CR LF"
  case badTrailer = "its trailer section is malformed or too long"
}
