import NIOCore
import Simulation
import TestSupport
import Testing

@testable import Gateway

@Suite("A client that waits has no decoder")
struct RequestDecodingTests {
  private static let body = #"{"model":"m","stream":true}"#

  private static func request(_ number: Int) -> String {
    let body = body + String(repeating: " ", count: number * 7)
    return BadRequestTests.post("Number: \(number)\r\nContent-Length: \(body.utf8.count)\r\n", body)
  }

  private func waitForRest(_ rig: GatewayRig, _ number: Int = 0) async throws {
    try await eventually("its decoder is gone") {
      try await rig.exchange(number) { $0.connection?.decoding.decoder == nil }
    }
  }

  private func answer(_ number: Int, _ client: HTTPProbe, _ rig: GatewayRig) async throws {
    try await rig.exchange(number) { exchange in
      #expect(exchange.header("Number") == "\(number)")
      #expect(exchange.bodyBytes == Self.body.utf8.count + number * 7)
      exchange.respond(status: 200, headers: [], body: [])
    }
    #expect(try await client.answer().status == 200)
  }

  @Test("Whatever comes while a request waits is served in its turn, wherever it is cut", arguments: 1...30)
  func requestsBehind(seed: Int) async throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let behind = Array((1...4).map(Self.request).joined().utf8)
    let cuts = (0..<4).map { _ in Int.random(in: 0...behind.count, using: &random) }.sorted()
    let pieces = zip([0] + cuts, cuts + [behind.count]).map { Array(behind[$0..<$1]) }
    let answeredAfter = Int.random(in: 0...pieces.count, using: &random)
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      try await client.send(raw: Self.request(0))
      try await waitForRest(rig)
      for (number, piece) in pieces.enumerated() {
        if number == answeredAfter { try await answer(0, client, rig) }
        if !piece.isEmpty { try await client.send(raw: piece) }
      }
      if answeredAfter == pieces.count { try await answer(0, client, rig) }
      for number in 1...4 { try await answer(number, client, rig) }
    }
  }

  @Test("With the first bytes of a further request a decoder stays")
  func beginningOfAnother() async throws {
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      let second = Array(Self.request(1).utf8)
      try await client.send(raw: Array(Self.request(0).utf8) + second.prefix(1))
      try await rig.waitForArrivals(1)
      #expect(try await rig.exchange { $0.connection?.decoding.decoder != nil })
      try await client.send(raw: Array(second.dropFirst()))
      try await answer(0, client, rig)
      try await answer(1, client, rig)
      // What is known no more stays unknown.
      try await client.send(raw: Self.request(2))
      try await rig.waitForArrivals(3)
      #expect(try await rig.exchange(2) { $0.connection?.decoding.decoder != nil })
      try await answer(2, client, rig)
    }
  }

  @Test("What is held for a later decoder is counted, is bounded, and is free with the connection")
  func heldBytes() async throws {
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      try await client.send(raw: Self.request(0))
      try await waitForRest(rig)
      let before = try await rig.heldBytes
      let sending = Task { try? await client.send(raw: [UInt8](repeating: 65, count: 4 << 20)) }
      try await eventually("the client is no longer read") {
        try await rig.exchange { $0.connection?.isReading } == false
      }
      let held = try await rig.heldBytes - before
      #expect(held >= WaitingParts.highCost && held <= WaitingParts.highCost + 65_536, "\(held)")
      await client.close()
      await sending.value
      try await rig.exchange { $0.refuse(.testRefusal) }
      try await eventually("all is free") { try await rig.heldBytes == 0 }
    }
  }

  @Test("A client that leaves is noticed without a decoder")
  func leaves() async throws {
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      try await client.send(raw: Self.request(0))
      try await waitForRest(rig)
      await client.close()
      try await rig.waitForOutcomes([.cancelled])
    }
  }

  @Test("The end of a request is told only where nothing follows", arguments: 1...50)
  func extent(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    let (bodyBytes, isLast) = (Int.random(in: 0...40, using: &random), Bool.random(using: &random))
    // A body may look like the end of a head.
    let body = Array("\r\n\r\n\r\n".utf8.prefix(bodyBytes)) + [UInt8](repeating: 120, count: max(0, bodyBytes - 6))
    let bytes = Array("POST / HTTP/1.1\r\nA: b\r\n\r\n".utf8) + body
    var extent = RequestExtent()
    for round in 1...3 {
      var place = 0
      while place < bytes.count {
        #expect(!extent.isEnd(afterBodyOf: bodyBytes), "round \(round), byte \(place)")
        let end = min(bytes.count, place + Int.random(in: 1...9, using: &random))
        bytes[place..<end].withUnsafeBytes { extent.read($0) }
        place = end
      }
      #expect(extent.isEnd(afterBodyOf: bodyBytes))
      #expect(!extent.isEnd(afterBodyOf: nil))
      if round == 2, !isLast { [UInt8(ascii: "G")].withUnsafeBytes { extent.read($0) } }
      extent.begin(afterBodyOf: bodyBytes)
      if round == 2, !isLast {
        bytes.withUnsafeBytes { extent.read($0) }
        #expect(!extent.isEnd(afterBodyOf: bodyBytes))
        return
      }
    }
  }
}
