import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import OllamaAPI
import PoolCore
import TestSupport
import Testing

@testable import Gateway

@Suite("Room for requests")
struct RoomTests {
  private static let host = BadRequestTests.host
  private static func filler(_ count: Int) -> String { String(repeating: "x", count: count) }

  /// Bodies, or heads without one, that don't fit beside what is held.
  private static let tooLarge = [
    "POST /api/chat HTTP/1.1\r\n\(host)A: \(filler(4000))\r\nContent-Length: 2\r\n\r\n",
    "POST /api/chat HTTP/1.1\r\n\(host)A: \(filler(4000))\r\nContent-Length: 0\r\n\r\n",
    "POST /api/chat HTTP/1.1\r\n\(host)A: \(filler(4000))\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET /api/tags HTTP/1.1\r\n\(host)A: \(filler(4000))\r\n\r\n",
    "POST /api/pull HTTP/1.1\r\n\(host)A: \(filler(4000))\r\nContent-Length: 2\r\n\r\n",
    BadRequestTests.post("Content-Length: 6000\r\n"),
    BadRequestTests.post("Transfer-Encoding: chunked\r\n", "1770\r\n" + filler(6000) + "\r\n"),
    BadRequestTests.post("Transfer-Encoding: chunked\r\n", "1770\r\n" + filler(6000) + "\r\n", path: "/api/create"),
  ]

  @Test("Requests beyond the memory for them get 503, and those that wait are not touched", arguments: tooLarge)
  func memory(raw: String) async throws {
    var limits = GatewayLimits()
    limits.bodies = 10_000
    try await GatewayRig.run(limits: limits) { rig in
      let waiting = try await rig.connect()
      try await waiting.send("POST", "/api/chat", body: Self.filler(6000))
      try await rig.waitForArrivals(1)
      let client = try await rig.connect()
      try await client.send(raw: raw)
      let answer = try await client.answer()
      #expect(answer.status == 503)
      #expect(answer.text.contains("as its memory allows"))
      #expect(answer.head["Retry-After"] == "10")
      #expect(try await rig.heldBytes <= limits.bodies)
      try await rig.exchange { $0.respond(status: 200, headers: [], body: []) }
      #expect(try await waiting.answer().status == 200)
    }
  }

  @Test(
    "What fills the memory to the last byte still fits",
    arguments: [("POST", "/api/chat", 100), ("POST", "/api/chat", 0), ("GET", "/api/tags", nil)]
      as [(
        String, String, Int?
      )])
  func bound(method: String, path: String, length: Int?) throws {
    var head = HTTPRequestHead(version: .http1_1, method: HTTPMethod(rawValue: method), uri: path)
    head.headers.add(name: "Host", value: "localhost")
    if let length { head.headers.add(name: "Content-Length", value: String(length)) }
    let rules = RequestRules(limits: GatewayLimits(), hosts: HostRule(hostname: "rig"), origins: OriginRule())
    let needed = head.bytes + (length ?? 0)
    guard case .pass = try rules.judge(head, checksHost: true, freeBytes: needed) else {
      Issue.record("refused")
      return
    }
    for tooLittle in [needed - 1, 0, -1_000_000] {
      let fault = #expect(throws: RequestFault.self) {
        try rules.judge(head, checksHost: true, freeBytes: tooLittle)
      }
      #expect(fault?.refusal == .memoryFull)
    }
  }

  /// The decoder stays while it waits: nobody can tell whether it has a piece of the next head.
  private static let chunkedPost = BadRequestTests.post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")

  @Test("What a client sends behind a request that waits is counted, and not read on when it is much")
  func pipelinedHeads() async throws {
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      let count = 17
      let request = "GET /api/tags HTTP/1.1\r\n\(Self.host)A: \(Self.filler(30_000))\r\n\r\n"
      try await client.send(raw: request)
      try await rig.waitForArrivals(1)
      let sending = Task { for _ in 1..<count { try await client.send(raw: request) } }
      try await eventually("the client is no longer read") {
        try await rig.exchange { $0.connection?.isReading } == false
      }
      let held = try await rig.heldBytes
      // The head of the request under way, and what was read of the others.
      #expect(held > 30_000 + WaitingParts.highCost && held < 140_000, "\(held)")
      try await rig.set { delegate in
        delegate.onArrival = { $0.respond(status: 200, headers: [], body: []) }
        delegate.arrived[0].exchange.respond(status: 200, headers: [], body: [])
      }
      for _ in 0..<count { #expect(try await client.answer().status == 200) }
      try await sending.value
      #expect(try await rig.heldBytes == 0)
    }
  }

  @Test("Thousands of small requests behind one that waits are not kept: some are answered, and the rest gets one 503")
  func pipelinedSmallRequests() async throws {
    try await GatewayRig.run { rig in
      try await rig.set { delegate in
        delegate.onArrival = { if $0.route.method == "GET" { $0.respond(status: 200, headers: [], body: []) } }
      }
      let client = try await rig.connect()
      // So that much is read in one piece from then on.
      for _ in 0..<8 {
        try await client.send("GET", "/", headers: [("A", Self.filler(30_000))])
        #expect(try await client.answer().status == 200)
      }
      try await client.send(raw: Self.chunkedPost)
      try await rig.waitForArrivals(9)
      let small = "GET / HTTP/1.1\r\n\(Self.host)\r\n"
      try await client.send(raw: String(repeating: small, count: 65_536 / small.utf8.count))
      try await eventually("the client is no longer read") {
        try await rig.exchange(8) { $0.connection?.isReading } == false
      }
      let held = try await rig.heldBytes
      #expect(held > WaitingParts.mostParts * 300 && held < WaitingParts.mostParts * 400, "\(held)")
      try await rig.exchange(8) { $0.respond(status: 200, headers: [], body: []) }
      var statuses: [Int] = []
      while statuses.last != 503 { statuses.append(try await client.answer().status) }
      #expect(statuses == [200] + Array(repeating: 200, count: WaitingParts.mostParts / 2) + [503])
      #expect(try await client.readUntilClosed() == "")
      #expect(try await rig.onLoop { _, delegate in delegate.refusals } == [.pipelineFull])
    }
  }

  @Test("A body in tiny chunks behind a request that waits takes no more than its bytes, and is served in its turn")
  func pipelinedChunks() async throws {
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      for _ in 0..<8 {
        try await client.send("GET", "/nothing", headers: [("A", Self.filler(30_000))])
        #expect(try await client.answer().status == 404)
      }
      try await client.send(raw: Self.chunkedPost)
      try await rig.waitForArrivals(1)
      let chunks = String(repeating: "1\r\nx\r\n", count: 9000) + "0\r\n\r\n"
      try await client.send(raw: BadRequestTests.post("Transfer-Encoding: chunked\r\n", chunks))
      try await eventually("what waits is held") { try await rig.heldBytes > 9000 }
      #expect(try await rig.heldBytes < 12_000)
      try await rig.exchange { $0.respond(status: 200, headers: [], body: []) }
      #expect(try await client.answer().status == 200)
      try await rig.exchange(1) { exchange in
        #expect(exchange.bodyBytes == 9000)
        exchange.respond(status: 200, headers: [], body: [])
      }
      #expect(try await client.answer().status == 200)
    }
  }

  @Test("What a client that leaves had sent behind its request is given up")
  func pipelinedBodies() async throws {
    var limits = GatewayLimits()
    limits.bodies = 50_000
    try await GatewayRig.run(limits: limits) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: "{}")
      try await rig.waitForArrivals(1)
      let before = try await rig.heldBytes
      try await client.send(raw: BadRequestTests.post("Content-Length: 20000\r\n", Self.filler(20_000)))
      try await eventually("what waits is held") { try await rig.heldBytes >= before + 16_384 }
      // The memory is full for one of the same size.
      let other = try await rig.connect()
      try await other.send(raw: BadRequestTests.post("Content-Length: 40000\r\n"))
      #expect(try await other.answer().status == 503)
      await client.close()
      try await rig.waitForOutcomes([.cancelled])
      #expect(try await rig.heldBytes == 0)
    }
  }

  @Test("Uploads that wait for an instance are counted; one that has an instance goes on in full memory")
  func uploads() async throws {
    let instance = try await FakeInstance.start()
    var limits = GatewayLimits()
    limits.bodies = 100_000
    try await GatewayRig.run(limits: limits) { rig in
      let address = try instance.address
      let size = 5 << 20
      func begin(_ part: Int) async throws -> HTTPProbe {
        let client = try await rig.connect()
        try await client.send(
          raw: "POST /api/create HTTP/1.1\r\n\(Self.host)Content-Length: \(size)\r\n\r\n" + Self.filler(part))
        return client
      }
      let first = try await begin(60_000)
      try await eventually("the first is held") { try await rig.heldBytes > 60_000 }
      let second = try await begin(100)
      try await rig.waitForArrivals(2)
      let third = try await begin(60_000)
      let refused = try await third.answer()
      #expect(refused.status == 503 && refused.text.contains("as its memory allows"))

      let heavy = try await rig.connect()
      try await eventually("the third is forgotten") { try await rig.heldBytes < 61_000 }
      try await heavy.send("POST", "/api/chat", body: Self.filler(limits.bodies - 62_000))
      try await rig.waitForArrivals(4)
      try await rig.exchange(1) { $0.relay(to: address) }
      let upstream = try await instance.connection()
      try await eventually("its head has come") { upstream.received.contains("\r\n\r\n") }
      let headSize = upstream.received.utf8.count - upstream.received.utf8.count { $0 == UInt8(ascii: "x") }
      upstream.onlyCount()
      let sending = Task { try await second.send(raw: Self.filler(size - 100)) }
      var most = 0
      try await eventually(within: .seconds(60), "the second upload arrives") {
        most = max(most, try await rig.exchange(1) { $0.heldBytes })
        return upstream.receivedCount >= headSize + size
      }
      try await sending.value
      // One read, and its head.
      #expect(most < 70_000)
      try await upstream.answer("{}")
      #expect(try await second.answer().status == 200)
      await first.close()
      await heavy.close()
      try await eventually("all is given up") { try await rig.heldBytes == 0 }
    }
  }

  @Test("Too many connections get 503, and room is made when one closes")
  func connections() async throws {
    var limits = GatewayLimits()
    limits.connections = 2
    limits.lingerTime = .milliseconds(100)
    try await GatewayRig.run(limits: limits) { rig in
      let first = try await rig.connect()
      let second = try await rig.connect()
      try await eventually("both are open") { try await rig.onLoop { gateway, _ in gateway.openConnections } == 2 }
      let third = try await rig.connect()
      let answer = try await third.answer()
      #expect(answer.status == 503)
      #expect(answer.head["Retry-After"] != nil)
      await first.close()
      try await eventually("there is room") { try await rig.onLoop { gateway, _ in gateway.openConnections } < 2 }
      let fourth = try await rig.connect()
      try await fourth.send("GET", "/nothing")
      #expect(try await fourth.answer().status == 404)
      await second.close()
    }
  }

  @Test("Far too many connections are closed at once, whether or not they close themselves")
  func refusedConnections() async throws {
    var limits = GatewayLimits()
    limits.connections = 1
    limits.refusedConnections = 2
    limits.lingerTime = .hours(1)
    try await GatewayRig.run(limits: limits) { rig in
      var clients: [any Channel] = []
      for _ in 0..<6 {
        clients.append(
          try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connect(host: "127.0.0.1", port: rig.port).get())
      }
      try await eventually("only so many stay open") {
        try await rig.onLoop { gateway, delegate in delegate.refusals.count == 5 && gateway.openConnections == 3 }
      }
      for client in clients { try? await client.close() }
    }
  }

  @Test(
    "A connection that this process can't open is no failure of the instance, and is tried again",
    arguments: [EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL])
  func ownWant(code: CInt) async throws {
    let instance = try await FakeInstance.start()
    var limits = GatewayLimits()
    limits.connectionPause = .milliseconds(10)
    try await GatewayRig.run(limits: limits) { rig in
      let address = try instance.address
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: "{}")
      try await rig.exchange { exchange in
        exchange.relay(to: address)
        guard case .attempting(let upstream) = exchange.stage else { throw ChannelError.ioOnClosedChannel }
        upstream.connectFailed(IOError(errnoCode: code, reason: "socket"))
      }
      // Whether the first one still came through is up to the kernel.
      let other = try await eventualValue("the request comes on another connection") {
        for number in 0..<instance.connectionCount {
          let connection = try await instance.connection(number)
          if connection.received.contains("/api/chat") { return connection }
        }
        return nil
      }
      #expect(try await rig.exchange { $0.lastProblem }?.contains("no connection to 127.0.0.1:") == true)
      try await other.answer("{}")
      #expect(try await client.answer().status == 200)
      try await rig.waitForOutcomes([.served])
      #expect(try await rig.onLoop { _, delegate in delegate.failures.isEmpty })
      let lacks = try await rig.onLoop { _, delegate in delegate.lacks }
      #expect(lacks.count == 1 && lacks[0].contains("no connection to 127.0.0.1:"), "\(lacks)")
    }
  }
}
