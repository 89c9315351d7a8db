import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite("An answer of the pool's own that takes its time")
struct OwnStreamTests {
  private static let fields = [(name: "Content-Type", value: "text/event-stream")]

  private static func ask(_ rig: GatewayRig, version: String = "1.1") async throws -> HTTPProbe {
    try await rig.set { delegate in delegate.onArrival = { $0.beginStream(status: 200, headers: fields) } }
    let client = try await rig.connect()
    try await client.send(raw: "POST /chat/stream HTTP/\(version)\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
    return client
  }

  @Test("goes out piece by piece, and the connection serves the next request", arguments: ["1.1", "1.0"])
  func pieces(version: String) async throws {
    try await GatewayRig.run { rig in
      let client = try await Self.ask(rig, version: version)
      let head = try await client.head()
      #expect(head.status == 200 && head["Content-Type"] == "text/event-stream" && head["X-Request-Id"] == "1")
      #expect((head["Transfer-Encoding"] == "chunked") == (version == "1.1"))
      #expect(try await rig.heldBytes < 100, "the question is not kept")
      // Either side of where the size of a chunk has a digit more.
      for piece in ["one"] + [15, 16, 255, 256, 1_000].map({ String(repeating: "x", count: $0) }) {
        try await rig.exchange { exchange in
          exchange.stream([])
          exchange.stream(Array(piece.utf8))
        }
        #expect(try await client.piece()?.text == piece)
      }
      // What belongs to other kinds of answers does nothing.
      try await rig.exchange { exchange in
        exchange.refuse(.testRefusal)
        exchange.respond(status: 200, headers: [], body: [1])
        exchange.beginStream(status: 404, headers: [])
        exchange.comment("no".utf8)
        #expect(!exchange.withdraw() && !exchange.beginEarly())
      }
      try await rig.exchange { $0.endStream() }
      #expect(try await client.piece() == nil)
      try await rig.waitForOutcomes([.served])
      guard version == "1.1" else { return }
      try await client.send("POST", "/chat/stream", body: "{}")
      #expect(try await client.head().status == 200)
      try await rig.exchange(1) { exchange in
        exchange.stream([0x78])
        exchange.endStream()
      }
      #expect(try await client.piece()?.text == "x")
      #expect(try await client.piece() == nil)
    }
  }

  @Test("that is cut stays incomplete, so that its client can tell")
  func cut() async throws {
    try await GatewayRig.run { rig in
      let client = try await Self.ask(rig)
      _ = try await client.head()
      try await rig.exchange { exchange in
        exchange.stream([0x78])
        exchange.cutStream()
        exchange.stream([0x79])
        exchange.endStream()
      }
      #expect(try await client.piece()?.text == "x")
      await #expect(throws: HTTPProbeError.self) { try await client.piece() }
      try await rig.waitForOutcomes([.failed(.refused(code: "cut"))])
    }
  }

  /// Sends numbered pieces for as long as the client takes them.
  private static func pump(_ exchange: Exchange, _ next: NIOLoopBoundBox<Int>, to count: Int, size: Int) {
    while next.value < count, exchange.takesMore {
      next.value += 1
      exchange.stream([UInt8](repeating: UInt8((next.value - 1) % 251), count: size))
    }
    if next.value == count { exchange.endStream() }
  }

  @Test("waits for a slow client in bounded memory, and goes on when it takes more", arguments: [100, 100_000])
  func slowClient(size: Int) async throws {
    try await GatewayRig.run { rig in
      let client = try await Self.ask(rig)
      _ = try await client.head()
      try await client.pauseReading()
      let count = 16_000_000 / size
      let next = NIOLoopBoundBox.makeBoxSendingValue(0, eventLoop: rig.loop)
      try await rig.set { delegate in
        delegate.onCaughtUp = { Self.pump($0, next, to: count, size: size) }
      }
      try await rig.exchange { Self.pump($0, next, to: count, size: size) }
      let sent = try await rig.exchange { exchange in
        #expect(!exchange.takesMore)
        #expect((exchange.connection?.backlog.readableBytes ?? 0) <= 2 * size)
        return next.value
      }
      #expect(sent < count)
      try await client.resumeReading()
      var bytes: [UInt8] = []
      bytes.reserveCapacity(count * size)
      while let piece = try await client.piece() { bytes += piece.bytes }
      #expect(bytes.count == count * size)
      #expect((0..<count).allSatisfy { bytes[$0 * size] == UInt8($0 % 251) }, "all in their order")
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("ends when its client takes nothing for too long, or leaves", arguments: [true, false])
  func gone(stalls: Bool) async throws {
    var limits = GatewayLimits()
    limits.clientStall = .milliseconds(200)
    try await GatewayRig.run(limits: limits) { rig in
      let client = try await Self.ask(rig)
      _ = try await client.head()
      if stalls {
        try await client.pauseReading()
        let piece = [UInt8](repeating: 7, count: 100_000)
        try await rig.exchange { exchange in while exchange.takesMore { exchange.stream(piece) } }
      } else {
        await client.close()
      }
      try await rig.waitForOutcomes([.cancelled])
      try await rig.exchange { exchange in
        #expect(!exchange.takesMore)
        exchange.stream([1])
        exchange.endStream()
      }
      try await rig.checkExchangesAreFreed()
    }
  }
}
