import NIOCore
import PoolCore
import TestSupport
import Testing

@testable import Gateway

@Suite("Under faults")
struct ChaosTests {
  /// Serves a connection until it closes: each request well, or badly in some way.
  private static func serve(_ connection: FakeConnection, _ numbers: SeededNumbers) async throws {
    var numbers = numbers
    let line = #"{"message":{"content":"x"},"done":false}"# + "\n"
    let head = RelayTests.head("application/x-ndjson")
    while !connection.isClosed {
      _ = try await connection.request()
      connection.forget()
      switch Int.random(in: 0..<10, using: &numbers) {
      case 0: await connection.close()
      case 1: try await connection.reset()
      case 2: try await connection.answer(#"{"error":"busy"}"#, status: 503)
      case 3: try await connection.send("nonsense\r\n\r\n")
      case 4:
        try await connection.send(head + RelayTests.chunk(line) + "20\r\n{\"half")
        await connection.close()
      case 5: try await connection.send(head + RelayTests.chunk(line) + "0\r\n\r\n")
      case 6: try await connection.answer(#"{"done":true}"#)
      default:
        try await connection.send(head)
        for _ in 0..<5 { try await connection.send(RelayTests.chunk(line)) }
        try await connection.send(RelayTests.chunk(#"{"done":true}"# + "\n") + "0\r\n\r\n")
      }
    }
  }

  /// Sends requests one after the other; now and then it leaves in the middle of one.
  private static func use(_ rig: GatewayRig, _ numbers: SeededNumbers) async throws {
    var numbers = numbers
    for _ in 0..<5 {
      let client = try await rig.connect()
      for _ in 0..<3 {
        try await client.send("POST", "/api/chat", body: #"{"model":"m"}"#)
        let leaves = Int.random(in: 0..<5, using: &numbers)
        if leaves == 0 { break }
        let head = try await client.head()
        if leaves == 1 { break }
        #expect([200, 502, 503].contains(head.status))
        while try await client.piece() != nil {}
        if head["Connection"] == "close" { break }
      }
      await client.close()
    }
  }

  @Test("every exchange ends exactly once, and nothing stays in memory", arguments: [5, 6, 7] as [UInt64])
  func everythingEnds(seed: UInt64) async throws {
    let instances = [try await FakeInstance.start(), try await FakeInstance.start(), try await FakeInstance.start()]
    let addresses = try instances.map { try $0.address }
    try await GatewayRig.run { rig in
      try await rig.set { delegate in
        var next = 0
        var attempts: [UInt64: Int] = [:]
        let relay: (Exchange) -> Void = { exchange in
          next += 1
          exchange.relay(to: addresses[next % addresses.count])
        }
        delegate.onArrival = relay
        delegate.onFailure = { exchange, _ in
          attempts[exchange.id.number, default: 0] += 1
          guard attempts[exchange.id.number, default: 0] < 3 else { return .passOn }
          relay(exchange)
          return .wait
        }
      }
      try await withThrowingTaskGroup(of: Void.self) { group in
        let serving = Task {
          try await withThrowingTaskGroup(of: Void.self) { servers in
            for instance in instances {
              servers.addTask {
                for number in 0... {
                  let connection = try await instance.connection(number)
                  Task { try? await Self.serve(connection, SeededNumbers(seed: seed &* 1000 &+ UInt64(number))) }
                }
              }
            }
            try await servers.waitForAll()
          }
        }
        for client in 0..<16 {
          group.addTask { try await Self.use(rig, SeededNumbers(seed: seed &* 77 &+ UInt64(client))) }
        }
        try await group.waitForAll()
        serving.cancel()
        _ = await serving.result
      }
      try await eventually("all exchanges have ended") {
        try await rig.onLoop { _, delegate in delegate.ended.count == delegate.arrived.count }
      }
      try await rig.checkExchangesAreFreed()
    }
  }
}
