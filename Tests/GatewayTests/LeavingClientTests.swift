import TestSupport
import Testing

@testable import Gateway

@Suite("A client that leaves")
struct LeavingClientTests {
  static let body = #"{"model":"m"}"#

  @Test("while its body is being sent: nobody hears of it")
  func whileSending() async throws {
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      try await client.send(raw: "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
      try await eventually("the half body is held") { try await rig.heldBytes > 4 }
      await client.close()
      try await eventually("the body is given up") { try await rig.heldBytes == 0 }
      #expect(try await rig.onLoop { _, delegate in delegate.arrived.isEmpty })
    }
  }

  @Test("while it waits: its exchange ends at once")
  func whileWaiting() async throws {
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      try await rig.waitForArrivals(1)
      await client.close()
      try await rig.waitForOutcomes([.cancelled])
    }
  }

  @Test("while it waits, with more requests sent than are read")
  func whileWaitingPipelined() async throws {
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      try await rig.waitForArrivals(1)
      let more =
        "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n"
        + String(repeating: "x", count: 50_000)
      try await client.send(raw: more + more)
      await client.close()
      try await rig.waitForOutcomes([.cancelled])
      #expect(try await rig.onLoop { _, delegate in delegate.arrived.count } == 1)
    }
  }

  @Test("while the instance reads the prompt: the instance's connection closes at once")
  func whilePromptIsRead() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      await client.close()
      try await upstream.waitUntilClosed()
      try await rig.waitForOutcomes([.cancelled])
    }
  }

  @Test("in mid-stream: the instance's connection closes at once")
  func inMidStream() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.send(RelayTests.head("application/x-ndjson") + RelayTests.chunk("{}\n"))
      _ = try await client.head()
      _ = try await client.piece()
      await client.close()
      try await upstream.waitUntilClosed()
      try await rig.waitForOutcomes([.cancelled])
    }
  }

  @Test("with a half-closed connection counts as gone")
  func halfClosed() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await client.closeOutput()
      try await upstream.waitUntilClosed()
      try await rig.waitForOutcomes([.cancelled])
    }
  }

  @Test("while a body is streamed to the instance: the instance's connection closes at once")
  func whileUploading() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(
        raw: "POST /api/blobs/sha256:1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nhalf")
      let upstream = try await instance.connection()
      try await eventually("the half body arrives") { upstream.received.hasSuffix("half") }
      await client.close()
      try await upstream.waitUntilClosed()
      try await rig.waitForOutcomes([.cancelled])
    }
  }

  @Test(
    "while its upload waits unread, for an instance or for what that takes of it: its exchange ends at once",
    arguments: [false, true])
  func whileHeldBack(isRelayed: Bool) async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      try await client.send(
        raw: "POST /api/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(1 << 30)\r\n\r\n")
      try await rig.waitForArrivals(1)
      if isRelayed {
        let address = try instance.address
        try await rig.exchange { $0.relay(to: address) }
        try await instance.connection().pauseReading()
      }
      // Little at a time, so that the end of what it sends is not behind more than the kernel holds.
      var sent = 0
      while try await rig.exchange(0, { $0.connection?.isReading }) == true {
        try await client.send(raw: [UInt8](repeating: 7, count: 16_384))
        sent += 16_384
        try await eventually(every: .milliseconds(1), "it is read, or held back") { [sent] in
          try await rig.exchange(0) { $0.bodyBytes >= sent || $0.connection?.isReading == false }
        }
      }
      await client.close()
      try await rig.waitForOutcomes([.cancelled])
      guard isRelayed else { return }
      // The end comes to it behind what it has not read.
      try await instance.connection().resumeReading()
      try await instance.connection().waitUntilClosed()
    }
  }

  @Test("before the connection to the instance is there")
  func whileConnecting() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run { rig in
      let address = try instance.address
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      try await rig.waitForArrivals(1)
      try await rig.onLoop { gateway, delegate in
        delegate.arrived[0].exchange.relay(to: address)
        gateway.stopAccepting()
      }
      await client.close()
      try await rig.waitForOutcomes([.cancelled])
      try await instance.connection().waitUntilClosed()
    }
  }
}
