import Foundation

/// Splits the bytes of a connection into heads and parts of bodies, as RFC 9112 frames them.
struct ResponseReader {
  private enum Framing {
    case head
    case length(Int)
    case chunkSize
    case chunk(Int)
    case trailer
    case untilClosed
    case complete
  }

  private var bytes: ArraySlice<UInt8> = []
  private var time = ContinuousClock.now
  private var framing = Framing.head
  private var methods: [String] = []

  var bodyIsComplete: Bool { if case .complete = framing { true } else { false } }

  mutating func expectAnswer(to method: String) { methods.append(method) }

  mutating func append(_ new: [UInt8], at time: ContinuousClock.Instant) {
    bytes += new
    self.time = time
  }

  mutating func takeAll() -> [UInt8] {
    defer { bytes = [] }
    return Array(bytes)
  }

  /// True where the end of the connection is the proper end of the body.
  mutating func endOfConnectionEndsBody() -> Bool {
    guard case .untilClosed = framing else { return false }
    framing = .complete
    return true
  }

  /// The next head, or nil while it is not all there.
  mutating func nextHead() throws -> HTTPProbe.Head? {
    guard let end = firstRange(of: [13, 10, 13, 10]) else { return nil }
    let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
    bytes = bytes[end.upperBound...]
    let parts = lines[0].split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), let status = Int(parts[1]) else {
      throw HTTPProbeError("no status line: \(lines[0])")
    }
    let headers = try lines.dropFirst().map { line in
      guard let colon = line.firstIndex(of: ":") else { throw HTTPProbeError("no header: \(line)") }
      let value = line[line.index(after: colon)...].trimmingPrefix(while: \.isWhitespace)
      return (name: String(line[..<colon]), value: String(value))
    }
    let head = HTTPProbe.Head(
      status: status, reason: parts.count > 2 ? String(parts[2]) : "", headers: headers, receivedAt: time)
    framing = try bodyFraming(of: head)
    return head
  }

  private mutating func bodyFraming(of head: HTTPProbe.Head) throws -> Framing {
    if (100..<200).contains(head.status) && head.status != 101 { return .complete }
    let method = methods.isEmpty ? "GET" : methods.removeFirst()
    if method == "HEAD" || head.status == 204 || head.status == 304 { return .complete }
    if head["Transfer-Encoding"]?.lowercased() == "chunked" { return .chunkSize }
    guard let length = head["Content-Length"] else { return .untilClosed }
    guard let count = Int(length), count >= 0 else { throw HTTPProbeError("Content-Length: \(length)") }
    return count == 0 ? .complete : .length(count)
  }

  /// The next part of the body, or nil while there is none, or none any more.
  mutating func nextPiece() throws -> HTTPProbe.Piece? {
    while true {
      switch framing {
      case .head, .complete:
        return nil
      case .untilClosed:
        return take(bytes.count)
      case .length(let left):
        guard let piece = take(left) else { return nil }
        framing = piece.bytes.count == left ? .complete : .length(left - piece.bytes.count)
        return piece
      case .chunkSize:
        guard let line = takeLine() else { return nil }
        let digits = line.prefix { $0 != ";" }.trimmingPrefix(while: \.isWhitespace)
        guard let size = Int(digits, radix: 16) else { throw HTTPProbeError("no chunk size: \(line)") }
        framing = size == 0 ? .trailer : .chunk(size)
      case .chunk(0):
        guard let line = takeLine() else { return nil }
        guard line.isEmpty else { throw HTTPProbeError("a chunk is longer than its size: \(line)") }
        framing = .chunkSize
      case .chunk(let left):
        guard let piece = take(left) else { return nil }
        framing = .chunk(left - piece.bytes.count)
        return piece
      case .trailer:
        guard let line = takeLine() else { return nil }
        if line.isEmpty { framing = .complete }
      }
    }
  }

  private mutating func take(_ limit: Int) -> HTTPProbe.Piece? {
    guard !bytes.isEmpty else { return nil }
    let part = bytes.prefix(limit)
    bytes = bytes.dropFirst(part.count)
    return HTTPProbe.Piece(bytes: Array(part), receivedAt: time)
  }

  private mutating func takeLine() -> String? {
    guard let end = firstRange(of: [13, 10]) else { return nil }
    defer { bytes = bytes[end.upperBound...] }
    return String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
  }

  private func firstRange(of pattern: [UInt8]) -> Range<Int>? { bytes.firstRange(of: pattern) }
}
