import NIOCore
import OllamaAPI
import TestSupport
import Testing

@testable import Gateway

@Suite("A WebSocket")
struct WebSocketTests {
  private typealias Probe = WebSocketProbe

  // MARK: The handshake

  @Test("opens as RFC 6455 has it, and takes what was sent right behind the request")
  func opened() async throws {
    try await GatewayRig.runWithSockets { rig, sockets in
      let client = try await rig.connect()
      let request =
        "GET /chat/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n"
        + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
      try await client.send(raw: Array(request.utf8) + Probe.frame(Probe.text, "early"))
      let head = try await client.head()
      #expect(head.status == 101 && head["Upgrade"] == "websocket" && head["Connection"] == "Upgrade")
      #expect(head["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" && head["X-Test"] == "yes")
      #expect(head["Content-Length"] == nil && head["Transfer-Encoding"] == nil)
      #expect(try await client.piece()?.bytes == Probe.frame(Probe.text, Array("early".utf8), isMasked: false))
      #expect(try await sockets.messages() == ["early"])
      #expect(try await rig.exchange { $0.isOpen && !$0.withdraw() })
      await client.close()
      try await rig.waitForOutcomes([.cancelled])
      try await rig.checkExchangesAreFreed()
    }
  }

  /// What a request says in place of a good one's field, and the answer's status.
  private static let refusals: [(field: String, values: [String], status: Int)] = [
    ("Upgrade", [], 426), ("Upgrade", ["h2c"], 426), ("Connection", [], 426), ("Connection", ["keep-alive"], 426),
    ("Sec-WebSocket-Version", [], 400), ("Sec-WebSocket-Version", ["8"], 400),
    ("Sec-WebSocket-Version", ["13", "13"], 400),
    ("Sec-WebSocket-Key", [], 400), ("Sec-WebSocket-Key", ["c2hvcnQ="], 400),
    ("Sec-WebSocket-Key", ["!!!!!!!!!!!!!!!!!!!!!!=="], 400),
    ("Sec-WebSocket-Key", ["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="], 400),
    ("Origin", ["https://evil.example"], 403),
  ]

  @Test("that was asked for in the wrong way is refused, and what comes behind it is nothing", arguments: refusals)
  func refused(field: String, values: [String], status: Int) async throws {
    try await GatewayRig.runWithSockets { rig, _ in
      let client = try await rig.connect()
      let fields = Probe.fields.filter { $0.0 != field } + values.map { (field, $0) }
      try await client.send("GET", "/chat/ws", headers: fields)
      try? await client.send(raw: Probe.frame(Probe.text, "no"))
      let answer = try await client.answer()
      #expect(answer.status == status)
      #expect(answer.text.contains("\"error\""))
      if status == 426 { #expect(answer.head["Upgrade"] == "websocket") }
      if field == "Sec-WebSocket-Version" { #expect(answer.head["Sec-WebSocket-Version"] == "13") }
    }
  }

  @Test("is none over HTTP/1.0, or by another method")
  func otherRequests() async throws {
    try await GatewayRig.runWithSockets { rig, _ in
      let client = try await rig.connect()
      let fields = Probe.fields.map { "\($0.0): \($0.1)\r\n" }.joined()
      try await client.send(raw: "GET /chat/ws HTTP/1.0\r\nHost: localhost\r\n\(fields)\r\n")
      #expect(try await client.answer().status == 426)
      let other = try await rig.connect()
      try await other.send("POST", "/chat/ws", headers: Probe.fields)
      #expect(try await other.answer().status == 405)
    }
  }

  @Test("opens behind another request of its connection, where so much waits that it is not read")
  func behindAnother() async throws {
    try await GatewayRig.run { rig in
      let socket = NIOLoopBoundBox.makeBoxSendingValue(RecordingSocket(), eventLoop: rig.loop)
      try await rig.set { delegate in
        delegate.onArrival = { exchange in
          if exchange.route.pattern == "/chat/ws" { socket.value.open(exchange) }
        }
      }
      let client = try await rig.connect()
      try await client.send("GET", "/")
      try await client.send(
        "GET", "/chat/ws",
        headers: Probe.fields + [("A", String(repeating: "x", count: WaitingParts.highCost))])
      try await eventually("the connection is not read") {
        try await rig.exchange { $0.connection?.isReading } == false
      }
      try await rig.exchange { $0.respond(status: 200, headers: [], body: []) }
      #expect(try await client.answer().status == 200)
      let opened = try await Probe.accepted(client)
      try await opened.send(text: "hello")
      #expect(try await opened.next()?.text == "hello")
    }
  }

  // MARK: Messages

  @Test("takes messages of any length, however they come", arguments: [0, 1, 125, 126, 65_535, 65_536, 1 << 20])
  func lengths(length: Int) async throws {
    try await GatewayRig.runWithSockets { rig, sockets in
      let client = try await Probe.open(rig)
      let text = String(repeating: "x", count: length)
      let frame = Probe.frame(Probe.text, text)
      var numbers = SeededNumbers(seed: UInt64(length))
      var rest = frame[...]
      while !rest.isEmpty {
        let piece = rest.prefix(Int.random(in: 1...max(1, length / 3), using: &numbers))
        try await client.send(Array(piece))
        rest = rest.dropFirst(piece.count)
      }
      #expect(try await client.next() == Probe.Frame(first: Probe.text, content: Array(text.utf8)))
      #expect(try await rig.heldBytes < 1000, "nothing is kept of what is whole")
    }
  }

  @Test("puts messages together that come in several frames, with other frames in between")
  func fragments() async throws {
    try await GatewayRig.runWithSockets { rig, sockets in
      let client = try await Probe.open(rig)
      // A letter of three bytes is cut, too.
      let text = Array("„Caffè“ €".utf8)
      for cut in 0...text.count {
        let bytes =
          Probe.frame(0x01, Array(text[..<cut])) + Probe.frame(Probe.ping, "between") + Probe.frame(0x00, [])
          + Probe.frame(Probe.pong, "unasked") + Probe.frame(0x80, Array(text[cut...]))
        try await client.send(bytes)
        #expect(try await client.next() == Probe.Frame(first: Probe.pong, content: Array("between".utf8)))
        #expect(try await client.next() == Probe.Frame(first: Probe.text, content: text))
      }
      #expect(try await sockets.messages() == [String](repeating: "„Caffè“ €", count: text.count + 1))
    }
  }

  /// What breaks the rules, and the code that RFC 6455, 7.4.1, has for it.
  struct Fault: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let bytes: [UInt8]
    let code: Int

    init(_ what: String, _ bytes: [UInt8]..., code: Int) {
      (testDescription, self.bytes, self.code) = (what, bytes.flatMap { $0 }, code)
    }
  }

  private static let faults = [
    Fault("a frame that is not masked", Probe.frame(Probe.text, [0x78], isMasked: false), code: 1002),
    Fault("the first reserved bit", Probe.frame(0xC1, "x"), code: 1002),
    Fault("the second reserved bit", Probe.frame(0xA1, "x"), code: 1002),
    Fault("the third reserved bit", Probe.frame(0x91, "x"), code: 1002),
    Fault("a reserved opcode", Probe.frame(0x83, "x"), code: 1002),
    Fault("a reserved control opcode", Probe.frame(0x8B, "x"), code: 1002),
    Fault("a continuation of nothing", Probe.frame(0x80, "x"), code: 1002),
    Fault("a message within another", Probe.frame(0x01, "x"), Probe.frame(0x81, "y"), code: 1002),
    Fault("a ping in parts", Probe.frame(0x09, "x"), code: 1002),
    Fault("a ping that is too long", Probe.frame(0x89, [UInt8](repeating: 0, count: 126)), code: 1002),
    Fault("binary", Probe.frame(Probe.binary, "x"), code: 1003),
    Fault("no UTF-8", Probe.frame(Probe.text, [0xC3, 0x28]), code: 1007),
    Fault("half a letter", Probe.frame(0x01, [0xE2, 0x82]), Probe.frame(0x80, []), code: 1007),
    Fault("a frame that is too long", Probe.frame(Probe.text, [], length: 1 << 20 + 1), code: 1009),
    Fault("a frame longer than numbers are", [0x81, 0xFF] + [UInt8](repeating: 0xFF, count: 8), code: 1009),
    Fault(
      "a message that is too long", Probe.frame(0x01, [UInt8](repeating: 0x78, count: 1 << 20)),
      Probe.frame(0x80, "x"), code: 1009),
    Fault(
      "too many frames", Probe.frame(0x01, "x"), (0..<256).flatMap { _ in Probe.frame(0x00, []) }, code: 1009),
  ]

  @Test(
    "that breaks the rules is closed with the code for it, which its client gets whatever it still sends",
    arguments: faults)
  func broken(fault: Fault) async throws {
    var limits = GatewayLimits()
    limits.lingerTime = .minutes(1)
    try await GatewayRig.runWithSockets(limits: limits) { rig, sockets in
      let client = try await Probe.open(rig, staysOpen: true)
      try await client.send(text: "good")
      #expect(try await client.next()?.text == "good")
      // More than the kernel's buffers hold: a client that hears nothing yet goes on sending.
      try await client.probe.pauseReading()
      try await client.send(fault.bytes)
      let more = Probe.frame(Probe.text, [UInt8](repeating: 0x78, count: 1 << 20))
      for _ in 0..<12 { try await client.send(more) }
      try await client.probe.resumeReading()
      #expect(try await client.farewellCode() == fault.code)
      await client.probe.close()
      try await sockets.waitUntilClosed()
      #expect(try await sockets.messages() == ["good"])
      try await rig.waitForOutcomes([.cancelled])
    }
  }

  @Test("leaves nothing behind, whatever comes", arguments: [1, 2] as [UInt64])
  func fuzz(seed: UInt64) async throws {
    var limits = GatewayLimits()
    limits.lingerTime = .milliseconds(50)
    try await GatewayRig.runWithSockets(limits: limits) { rig, sockets in
      let samples =
        Self.faults.map { Array($0.bytes.prefix(3000)) } + [
          Probe.frame(Probe.text, "good") + Probe.frame(0x01, "go") + Probe.frame(Probe.ping, "")
            + Probe.frame(0x80, "od"),
          Probe.frame(Probe.farewell, [3, 232]),
        ]
      var numbers = SeededNumbers(seed: seed)
      for _ in 0..<200 {
        var bytes = (0..<3).flatMap { _ in samples.randomElement(using: &numbers) ?? [] }
        for _ in 0..<Int.random(in: 0...3, using: &numbers) {
          bytes[Int.random(in: 0..<bytes.count, using: &numbers)] = .random(in: .min ... .max, using: &numbers)
        }
        let client = try await Probe.open(rig)
        let cut = Int.random(in: 0...bytes.count, using: &numbers)
        try? await client.send(Array(bytes[..<cut]))
        try? await client.send(Array(bytes[cut...]))
        await client.probe.close()
      }
      let client = try await Probe.open(rig)
      try await client.send(text: "still there")
      #expect(try await client.next()?.text == "still there")
    }
  }
}
