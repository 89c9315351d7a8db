import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite("An answer that nobody takes", .serialized)
struct UntakenAnswerTests {
  /// More than the kernel's buffers hold of a connection that is not read; with its head it takes 16 MiB of memory.
  private static let answer = [UInt8](repeating: 7, count: (16 << 20) - 4096)

  /// Has room for three such answers.
  private static func run(_ body: (GatewayRig) async throws -> Void) async throws {
    var limits = GatewayLimits()
    limits.bodies = 8 * (50 << 20)
    #expect(limits.untaken == 50 << 20)
    try await GatewayRig.run(limits: limits) { rig in
      try await rig.set { delegate in delegate.onArrival = { $0.respond(status: 200, headers: [], body: answer) } }
      try await body(rig)
    }
  }

  /// A client that asks, and reads nothing.
  private static func ask(_ rig: GatewayRig) async throws -> HTTPProbe {
    let client = try await rig.connect()
    try await client.pauseReading()
    let before = try await rig.outcomes.count
    try await client.send("GET", "/")
    try await eventually("it is answered") { try await rig.outcomes.count > before }
    return client
  }

  @Test("is held as long as there is room; then those go that have taken nothing for longest, and others are served")
  func neverRead() async throws {
    try await Self.run { rig in
      var silent: [HTTPProbe] = []
      for count in 1...10 {
        silent.append(try await Self.ask(rig))
        try await eventually("no more is held than there is room for") {
          try await rig.onLoop { gateway, _ in gateway.untakenBytes } / (16 << 20) == min(count, 3)
        }
        // It is not the room of what others ask.
        #expect(try await rig.heldBytes == 0)
      }
      #expect(try await rig.onLoop { _, delegate in delegate.cutOff } == 7)
      // Whoever reads needs room for a moment: at most one more goes.
      let answer = try await HTTPProbe.exchange("GET", "/", port: rig.port)
      #expect(answer.bytes.count == Self.answer.count)
      for client in silent { try await client.resumeReading() }
      for client in silent[..<7] { await #expect(throws: HTTPProbeError.self) { try await client.answer() } }
      for client in silent[8...] { #expect(try await client.answer().bytes.count == Self.answer.count) }
      // All is taken: the next requests on their connections are served.
      for client in silent[8...] {
        try await client.send("GET", "/")
        #expect(try await client.answer().status == 200)
      }
      #expect(try await rig.onLoop { gateway, _ in gateway.untakenBytes } == 0)
    }
  }

  @Test("A client that takes its answer slowly keeps its connection, however many come that take nothing")
  func slow() async throws {
    try await Self.run { rig in
      let slow = try await Self.ask(rig)
      let connection = try await rig.onLoop { gateway, _ in
        NIOLoopBound(try #require(gateway.connections.values.first), eventLoop: gateway.loop)
      }
      var count = 0
      var silent: [HTTPProbe] = []
      for _ in 0..<4 {
        silent.append(try await Self.ask(rig))
        let before = try await rig.onLoop { _, _ in connection.value.tookAt }
        while try await rig.onLoop({ _, _ in connection.value.tookAt }) == before {
          await slow.readOnce()
          if count == 0 { #expect(try await slow.head().status == 200) }
          count += try #require(await slow.piece()).bytes.count
        }
      }
      #expect(try await rig.onLoop { _, delegate in delegate.cutOff } == 2)
      try await slow.resumeReading()
      while let piece = try await slow.piece() { count += piece.bytes.count }
      #expect(count == Self.answer.count)
    }
  }

  @Test("Whoever takes nothing of it for too long is taken to have left, where there is room, too")
  func stall() async throws {
    var limits = GatewayLimits()
    limits.clientStall = .milliseconds(300)
    try await GatewayRig.run(limits: limits) { rig in
      try await rig.set { delegate in
        delegate.onArrival = { $0.respond(status: 200, headers: [], body: Self.answer) }
      }
      let client = try await Self.ask(rig)
      try await eventually("it is taken to have left") {
        try await rig.onLoop { gateway, _ in gateway.openConnections } == 0
      }
      try await client.resumeReading()
      await #expect(throws: HTTPProbeError.self) { try await client.answer() }
    }
  }
}
