import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite("The end of a WebSocket, and what it may take until then")
struct WebSocketEndTests {
  private typealias Probe = WebSocketProbe

  private static let farewells: [[UInt8]] = [[], [0x03, 0xE8], [0x0F, 0xA0] + Array("enough".utf8)]

  @Test("A client that says farewell hears one, and the connection is closed", arguments: farewells)
  func farewell(content: [UInt8]) async throws {
    try await GatewayRig.runWithSockets { rig, sockets in
      let client = try await Probe.open(rig)
      try await client.send(Probe.frame(Probe.farewell, content) + Probe.frame(Probe.text, "too late"))
      #expect(try await client.farewellCode() == 1000)
      try await sockets.waitUntilClosed()
      #expect(try await sockets.messages().isEmpty)
      try await rig.waitForOutcomes([.cancelled])
    }
  }

  @Test("A client may leave without a word, or end what it sends", arguments: [true, false])
  func left(halfway: Bool) async throws {
    try await GatewayRig.runWithSockets { rig, sockets in
      let client = try await Probe.open(rig)
      // In the middle of a message.
      let head = try await rig.heldBytes
      try await client.send(Probe.frame(0x01, "half") + Probe.frame(0x00, "xyz").dropLast())
      try await eventually("it is held") { try await rig.heldBytes == head + 4 + 2 }
      if halfway { try await client.probe.closeOutput() } else { await client.probe.close() }
      try await sockets.waitUntilClosed()
      try await rig.waitForOutcomes([.cancelled])
      #expect(try await rig.heldBytes == 0)
    }
  }

  @Test(
    "The pool closes it with a reason, and hears no more: until the client closes its side, or for a while",
    arguments: [(WebSocket.Farewell.poolStops, 1001), (.notAdmitted, 1008)], [true, false])
  func closed(farewell: (WebSocket.Farewell, Int), agrees: Bool) async throws {
    var limits = GatewayLimits()
    limits.lingerTime = agrees ? .minutes(5) : .milliseconds(200)
    try await GatewayRig.runWithSockets(limits: limits) { rig, sockets in
      let client = try await Probe.open(rig, staysOpen: true)
      try await sockets.onLoop { recorded in
        let socket = recorded.socket
        socket?.close(farewell.0)
        socket?.send("too late".utf8)
        socket?.ping()
        #expect(socket?.takesMore == false && recorded.closed == 0)
      }
      #expect(try await client.farewellCode() == farewell.1)
      // Of a client that does not agree there is no connection any more, if this test is slow.
      if agrees {
        try await client.send(text: "unheard")
        try await client.send(Probe.frame(Probe.farewell, [0x03, 0xE8]))
        try await client.probe.closeOutput()
      }
      try await sockets.waitUntilClosed()
      #expect(try await sockets.messages().isEmpty)
    }
  }

  @Test("A client that takes nothing is not read and gets no more; once it takes it again, all goes on")
  func slowClient() async throws {
    try await GatewayRig.runWithSockets(prepare: {
      $0.onMessage = { socket, text in
        if text == "hello" { socket.send(text.utf8) }
      }
    }) { rig, sockets in
      let client = try await Probe.open(rig)
      try await client.probe.pauseReading()
      let text = String(repeating: "x", count: 50_000)
      let sent = try await sockets.onLoop { recorded in
        var sent = 0
        while recorded.socket?.takesMore == true {
          recorded.socket?.send(text.utf8)
          sent += 1
        }
        recorded.socket?.ping()
        return sent
      }
      // Pings get no answers now, and are not all taken either.
      let ping = Probe.frame(Probe.ping, String(repeating: "p", count: 125))
      let flood = Task { [probe = client.probe] in
        for _ in 0..<150 { try await probe.send(raw: ping) }
        try await probe.send(raw: Probe.frame(Probe.text, "hello"))
      }
      try await eventually("it is not read") {
        try await rig.exchange { $0.connection?.socket?.isReading } == false
      }
      #expect(try await sockets.messages().isEmpty)
      try await client.probe.resumeReading()
      for _ in 0..<sent { #expect(try await client.next()?.content.count == 50_000) }
      var next = try await client.next()
      while next?.first == Probe.pong { next = try await client.next() }
      #expect(next?.text == "hello")
      try await flood.value
      #expect(try await sockets.onLoop { $0.caughtUp } >= 1)
    }
  }

  @Test("A client that takes nothing for too long has left")
  func stalledClient() async throws {
    var limits = GatewayLimits()
    limits.clientStall = .milliseconds(200)
    try await GatewayRig.runWithSockets(limits: limits) { rig, sockets in
      let (stalled, other) = (try await Probe.open(rig), try await Probe.open(rig))
      try await stalled.probe.pauseReading()
      let text = String(repeating: "x", count: 50_000)
      try await sockets.onLoop { recorded in
        while recorded.socket?.takesMore == true { recorded.socket?.send(text.utf8) }
      }
      try await sockets.waitUntilClosed()
      try await rig.waitForOutcomes([.cancelled])
      // One that has nothing to take may stay.
      try await other.send(text: "hello")
      #expect(try await other.next()?.text == "hello")
    }
  }

  @Test("Of a flood some frames are dealt with at once, and then some in each second")
  func allowance() {
    var allowance = FrameAllowance()
    let start = NIODeadline.now()
    func taken(of count: Int, after time: TimeAmount) -> Int {
      (0..<count).count { _ in allowance.take(at: start + time) }
    }
    #expect(taken(of: 1000, after: .zero) == 100)
    #expect(taken(of: 1, after: .milliseconds(9)) == 0)
    #expect(taken(of: 1000, after: .milliseconds(255)) == 25)
    #expect(taken(of: 1000, after: .milliseconds(260)) == 1)
    #expect(taken(of: 1000, after: .hours(1)) == 100, "what is not used is not saved up")
    for tenth in 0..<100 { #expect(taken(of: 5, after: .hours(2) + .milliseconds(100) * tenth) == 5) }
  }

  @Test("A flood is dealt with slowly and in its order, and not at all while its client takes no answers")
  func flood() async throws {
    // As much as is taken, and more.
    let answer = String(repeating: "x", count: 50_000)
    let prepare: @Sendable (RecordingSocket) -> Void = { recorded in
      recorded.onMessage = { socket, text in
        if text == "fill" { while socket.takesMore { socket.send(answer.utf8) } } else { socket.send(text.utf8) }
      }
    }
    try await GatewayRig.runWithSockets(prepare: prepare) { rig, sockets in
      let client = try await Probe.open(rig)
      try await client.probe.pauseReading()
      let numbers = (1...150).map(String.init)
      try await client.send((["fill"] + numbers).flatMap { Probe.frame(Probe.text, $0) })
      try await eventually("the client is not read") {
        try await rig.exchange { $0.connection?.socket?.isReading } == false
      }
      #expect(try await sockets.messages() == ["fill"])
      let start = ContinuousClock.now
      try await client.probe.resumeReading()
      var answers: [String] = []
      while answers.count < numbers.count {
        let next = try #require(try await client.next())
        if next.content.count < answer.utf8.count { answers.append(next.text) }
      }
      #expect(answers == numbers)
      #expect(ContinuousClock.now - start > .milliseconds(10) * (numbers.count - FrameAllowance.most))
    }
  }

  @Test("What is held of messages counts as what is held of requests does, and whoever has no room is told so")
  func memory() async throws {
    var limits = GatewayLimits()
    limits.bodies = 100_000
    try await GatewayRig.runWithSockets(limits: limits) { rig, sockets in
      let (first, second) = (try await Probe.open(rig), try await Probe.open(rig))
      let part = [UInt8](repeating: 0x78, count: 40_000)
      // One whole frame of a message, and a part of the next.
      try await first.send(Probe.frame(0x01, part) + Probe.frame(0x80, part).dropLast(20_000))
      try await eventually("both are held") { try await rig.heldBytes > 60_000 }
      try await second.send(Array(Probe.frame(Probe.text, part).dropLast()))
      #expect(try await second.farewellCode() == 1013)
      #expect(try await rig.onLoop { $1.refusals } == [.memoryFull])
      await second.probe.close()
      try await eventually("what was held for it is free again") { try await rig.heldBytes < 70_000 }
      // The first one is none the worse for it.
      try await first.send(Array(Probe.frame(0x80, part).suffix(20_000)))
      #expect(try await first.next()?.content == part + part)
      #expect(try await rig.heldBytes < 1000)
    }
  }

  @Test("A message that does not come to its end in time closes it; one that has none on its way may stay")
  func slowMessage() async throws {
    var limits = GatewayLimits()
    limits.bodyPause = .milliseconds(200)
    try await GatewayRig.runWithSockets(limits: limits) { rig, sockets in
      let (slow, slower, idle) = (try await Probe.open(rig), try await Probe.open(rig), try await Probe.open(rig))
      try await idle.send(Probe.frame(0x01, "he") + Probe.frame(0x80, "llo"))
      #expect(try await idle.next()?.text == "hello")
      try await slow.send(Probe.frame(0x01, "half"))
      try await slower.send(Array(Probe.frame(Probe.text, "half").dropLast()))
      #expect(try await slow.farewellCode() == 1008)
      #expect(try await slower.farewellCode() == 1008)
      try await idle.send(text: "still there")
      #expect(try await idle.next()?.text == "still there")
      await slow.probe.close()
      await slower.probe.close()
    }
  }
}
