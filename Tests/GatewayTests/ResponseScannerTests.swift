import Testing

@testable import Gateway

@Suite("The scanner of instances' answers")
struct ResponseScannerTests {
  static let samples: [String] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0A;x=y\r\n0123456789\r\n00\r\nX-T: 1\r\n\r\n",
    "HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n3\r\n\r\n0\r\n0\r\n\r\n",
    "HTTP/1.1 200\r\nX: y\r\n\r\nto the end",
    "HTTP/1.0 200 OK\r\n\r\nold",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  ]

  @Test("comes to the same result however the bytes are split", arguments: samples)
  func splits(sample: String) {
    let bytes = Array(sample.utf8)
    let whole = ScannerRun([bytes])
    for cut in 0...bytes.count {
      let run = ScannerRun([Array(bytes[..<cut]), Array(bytes[cut...])])
      #expect(run == whole, "cut at \(cut)")
    }
    #expect(ScannerRun(bytes.map { [$0] }) == whole)
  }

  @Test("finds the end by length, and leaves what follows")
  func length() {
    let run = ScannerRun("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloMORE")
    #expect(run.status == 200)
    #expect(run.framing == .length(5))
    #expect(run.text == "hello")
    #expect(run.isComplete)
    #expect(run.leftover == Array("MORE".utf8))
    #expect(run.keepsAlive == true)
  }

  @Test("finds the end of chunks, and where the last one begins")
  func chunks() {
    let run = ScannerRun(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=\"b\"\r\n world\r\n0\r\nT: v\r\n\r\nX")
    #expect(run.text == "hello world")
    #expect(run.isComplete)
    #expect(run.passed == Array("5\r\nhello\r\n6;a=\"b\"\r\n world\r\n0\r\nT: v\r\n\r\n".utf8))
    #expect(run.terminator == Array("0\r\nT: v\r\n\r\n".utf8))
    #expect(run.leftover == Array("X".utf8))
  }

  @Test("reads to the end of the connection where nothing else ends the body")
  func untilClose() {
    let run = ScannerRun("HTTP/1.1 200 OK\r\n\r\nabc")
    #expect(run.text == "abc")
    #expect(!run.isComplete)
    #expect(run.endsWithConnection)
    #expect(run.keepsAlive == false)
  }

  @Test("skips interim answers")
  func interim() {
    let run = ScannerRun("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    #expect(run.status == 201)
    #expect(run.isComplete)
  }

  @Test("expects no body after HEAD, 204 and 304, whatever the fields say")
  func noBody() {
    let head = ScannerRun("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", isHead: true)
    #expect(head.isComplete && head.framing == ResponseHead.Framing.none)
    let chunkedHead = ScannerRun("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", isHead: true)
    #expect(chunkedHead.isComplete)
    for status in [204, 304] {
      let run = ScannerRun("HTTP/1.1 \(status) X\r\nContent-Length: 5\r\n\r\nhello")
      #expect(run.isComplete && run.passed.isEmpty)
      #expect(run.leftover == Array("hello".utf8))
    }
  }

  @Test("tells what an interrupted body lacks")
  func debt() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    #expect(ScannerRun(chunked).debt == .none)
    #expect(ScannerRun(chunked + "5").debt == .none)
    #expect(ScannerRun(chunked + "5\r\n").debt == .content(5))
    #expect(ScannerRun(chunked + "5\r\nhel").debt == .content(2))
    #expect(ScannerRun(chunked + "5\r\nhello").debt == .lineEnd)
    #expect(ScannerRun(chunked + "5\r\nhello\r").debt == .lineEnd)
    #expect(ScannerRun(chunked + "5\r\nhello\r\n").debt == .none)
    #expect(ScannerRun(chunked + "5\r\nhello\r\n0\r\n").debt == .none)
  }

  @Test(
    "passes on a size line, a chunk's end and the trailers whole or not at all",
    arguments: ["5", "5\r", "5\r\nhello\r\n0", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n0\r\nA: b\r\n", "5\r\nhello\r"])
  func wholeFraming(body: String) {
    let run = ScannerRun("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    #expect(!run.isComplete)
    #expect(run.error == nil)
    let passed = String(decoding: run.passed, as: UTF8.self)
    #expect(["", "5\r\nhello", "5\r\nhello\r\n"].contains(passed))
    #expect(passed + String(decoding: run.leftover, as: UTF8.self) == body)
  }

  static let bad: [(String, ResponseError)] = [
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", .severalLengths),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", .severalLengths),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", .badLength),
    ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", .badLength),
    ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", .badLength),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n", .badLength),
    ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", .badLength),
    ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", .badLength),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", .lengthAndCoding),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", .lengthAndCoding),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .unknownCoding),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", .unknownCoding),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", .unknownCoding),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", .unknownCoding),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n", .unknownCoding),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .unknownCoding),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n", .badField),
    ("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", .badField),
    ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", .badField),
    ("HTTP/1.1 200 OK\r\nA: b\u{0}\r\n\r\n", .badField),
    ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", .badField),
    ("HTTP/1.1 200 OK\r\nnothing\r\n\r\n", .badField),
    ("HTTP/1.1 200 OK\r\nA: b\n\r\n", .badLineEnd),
    ("HTTP/1.1 200 OK\nA: b\r\n\r\n", .badLineEnd),
    ("HTTP/1.1 200 OK\r\nA: b\n\n", .badLineEnd),
    ("\r\nHTTP/1.1 200 OK\r\n\r\n", .badStatusLine),
    ("HTTP/2.0 200 OK\r\n\r\n", .badStatusLine),
    ("http/1.1 200 OK\r\n\r\n", .badStatusLine),
    ("HTTP/1.1  200 OK\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 20 OK\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 2000 OK\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 099 OK\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 600 OK\r\n\r\n", .badStatusLine),
    ("ICY 200 OK\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", .unwantedUpgrade),
  ]

  @Test("refuses heads that are malformed or ambiguous", arguments: bad)
  func badHeads(sample: String, error: ResponseError) {
    let run = ScannerRun(sample)
    #expect(run.error == error)
    #expect(run.passed.isEmpty)
  }

  @Test("refuses heads that are too long")
  func longHeads() {
    let start = "HTTP/1.1 200 OK\r\n"
    #expect(ScannerRun(String(repeating: "HTTP/1.1 100 C\r\n\r\n", count: 9)).error == .tooManyInterim)
    #expect(ScannerRun(String(repeating: "x", count: 70_000)).error == .headTooLong)
    #expect(ScannerRun(start + "A: " + String(repeating: "x", count: 70_000) + "\r\n\r\n").error == .headTooLong)
    #expect(ScannerRun(start + String(repeating: "A: b\r\n", count: 257) + "\r\n").error == .headTooLong)
    #expect(ScannerRun(start + String(repeating: "A: b\r\n", count: 256) + "\r\n").error == nil)
  }

  @Test("refuses size lines and trailers that are too long")
  func longFraming() {
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    #expect(ScannerRun(start + String(repeating: "0", count: 300)).error == .badChunkSize)
    #expect(ScannerRun(start + "5;" + String(repeating: "x", count: 300) + "\r\n").error == .badChunkSize)
    #expect(ScannerRun(start + "0\r\nA: " + String(repeating: "x", count: 9000)).error == .badTrailer)
  }

  static let badBodies: [(String, ResponseError, passed: String)] = [
    ("g\r\n", .badChunkSize, ""),
    ("\r\n", .badChunkSize, ""),
    ("5\nhello\r\n", .badChunkSize, ""),
    ("5 \r\nhello\r\n", .badChunkSize, ""),
    (" 5\r\nhello\r\n", .badChunkSize, ""),
    ("-5\r\nhello\r\n", .badChunkSize, ""),
    ("0x5\r\nhello\r\n", .badChunkSize, ""),
    ("5;a\rb\r\nhello\r\n", .badChunkSize, ""),
    ("10000000001\r\n", .badChunkSize, ""),
    ("FFFFFFFFFFFFFFFF\r\n", .badChunkSize, ""),
    ("FFFFFFFFFFFFFFFFF\r\n", .badChunkSize, ""),
    ("00000000000000005\r\nhello\r\n", .badChunkSize, ""),
    ("5\r\nhelloworld", .badChunkEnd, "5\r\nhello"),
    ("5\r\nhello\n\n", .badChunkEnd, "5\r\nhello"),
    ("5\r\nhello\r\nxx\r\n", .badChunkSize, "5\r\nhello\r\n"),
    ("0\r\nContent-Length: 5\r\n\r\n", .badTrailer, ""),
    ("0\r\nTransfer-Encoding: chunked\r\n\r\n", .badTrailer, ""),
    ("0\r\nbad trailer\r\n\r\n", .badTrailer, ""),
    ("0\r\nA: b\n\n", .badTrailer, ""),
  ]

  @Test("refuses bodies that are malformed, and passes on only what came before", arguments: badBodies)
  func badBody(body: String, error: ResponseError, passed: String) {
    let run = ScannerRun("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    #expect(run.error == error)
    #expect(run.passed == Array(passed.utf8))
    #expect(!run.isComplete)
  }

  @Test("keeps a connection only where HTTP/1.1 says so")
  func keepAlive() {
    func keeps(_ head: String) -> Bool? { ScannerRun(head + "Content-Length: 0\r\n\r\n").keepsAlive }
    #expect(keeps("HTTP/1.1 200 OK\r\n") == true)
    #expect(keeps("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n") == true)
    #expect(keeps("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n") == false)
    #expect(keeps("HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\n") == false)
    #expect(keeps("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n") == false)
  }

  @Test("passes on end-to-end fields alone")
  func endToEnd() throws {
    let text = """
      HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: X-Secret, keep-alive\r\nx-secret: 1\r\n\
      Keep-Alive: timeout=5\r\nTE: x\r\nTrailer: y\r\nUpgrade: z\r\nProxy-Authenticate: p\r\nDate: today\r\n\
      Transfer-Encoding: chunked\r\nAccess-Control-Allow-Origin: *\r\nX-Request-Id: 7\r\nSet-Cookie: a\r\n\
      Set-Cookie: b\r\n\r\n
      """
    let bytes = Array(text.utf8)
    let names = try bytes.withUnsafeBytes { raw in
      let head = try #require(try ResponseHead.parse(raw, isHead: false))
      #expect(head.contentType(raw) == "text/plain")
      return head.endToEndFields(raw).map { String(decoding: raw[$0.name], as: UTF8.self) }
    }
    #expect(names == ["Content-Type", "Date", "Set-Cookie", "Set-Cookie"])
  }

  /// Mutates samples: bytes changed, removed, doubled, samples joined, and always cut at random places.
  @Test("survives 100,000 mutated answers, and never depends on how they are split", arguments: [1, 2] as [UInt64])
  func fuzz(seed: UInt64) {
    var numbers = SeededNumbers(seed: seed)
    let alphabet = Array("\r\n\r\n\r\n0123456789abcdefgxX:;, \t\u{0}HTTP/".utf8)
    let samples = Self.samples.map { Array($0.utf8) } + Self.badBodies.map { Array($0.0.utf8) }
    for round in 0..<50_000 {
      var bytes = samples.randomElement(using: &numbers) ?? []
      if bytes.count > 400 { bytes = Array(bytes.prefix(400)) }
      for _ in 0..<Int.random(in: 0...4, using: &numbers) where !bytes.isEmpty {
        let place = Int.random(in: 0..<bytes.count, using: &numbers)
        switch Int.random(in: 0..<4, using: &numbers) {
        case 0: bytes[place] = alphabet.randomElement(using: &numbers) ?? 0
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(alphabet.randomElement(using: &numbers) ?? 0, at: place)
        default: bytes.insert(contentsOf: bytes[place...].prefix(12), at: place)
        }
      }
      let cut = Int.random(in: 0...bytes.count, using: &numbers)
      let whole = ScannerRun([bytes])
      let split = ScannerRun([Array(bytes[..<cut]), Array(bytes[cut...])])
      guard whole == split, whole.passed.count <= bytes.count, !(whole.isComplete && whole.error != nil) else {
        Issue.record(
          "seed \(seed), round \(round), cut \(cut): \(String(decoding: bytes, as: UTF8.self).debugDescription)")
        return
      }
    }
  }
}
