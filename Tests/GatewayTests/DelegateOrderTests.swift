import TestSupport
import Testing

@testable import Gateway

@Suite("What the delegate orders")
struct DelegateOrderTests {
  static let refusals: [(path: String, body: String)] = [
    ("/api/chat", #"{"error":"The queue is full."}"#),
    (
      "/v1/chat/completions",
      #"{"error":{"message":"The queue is full.","type":"overloaded_error","param":null,"code":"queue_full"}}"#
    ),
    (
      "/v1/messages",
      #"{"type":"error","error":{"type":"overloaded_error","message":"The queue is full."},"request_id":"1"}"#
    ),
  ]

  @Test("to refuse: the client gets status, Retry-After and the error in its dialect", arguments: refusals)
  func refuse(path: String, body: String) async throws {
    try await GatewayRig.run { rig in
      try await rig.set { delegate in delegate.onArrival = { $0.refuse(.testRefusal) } }
      let client = try await rig.connect()
      try await client.send("POST", path, body: "{}")
      let answer = try await client.answer()
      #expect(answer.status == 503)
      #expect(answer.head["Retry-After"] == "7")
      #expect(answer.head["Content-Type"] == "application/json; charset=utf-8")
      #expect(answer.text == body)
      try await rig.waitForOutcomes([.failed(.refused(code: "queue_full"))])
    }
  }

  @Test("to interrupt a stream: it ends with the error, and the instance's connection closes")
  func interrupt() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      for (number, stream) in RelayTests.streams.enumerated() {
        let client = try await rig.connect()
        try await client.send("POST", stream.path, body: "{}")
        let upstream = try await instance.connection(number)
        _ = try await upstream.request()
        try await upstream.send(RelayTests.head(stream.type) + RelayTests.chunk(stream.pieces[0]))
        _ = try await client.head()
        #expect(try await client.piece()?.text == stream.pieces[0])
        try await rig.exchange(number) { $0.refuse(.testRefusal) }
        var rest = ""
        while let piece = try await client.piece() { rest += piece.text }
        #expect(rest.contains("The queue is full."))
        try await upstream.waitUntilClosed()
      }
      let outcome = ExchangeOutcome.failed(.refused(code: "queue_full"))
      try await rig.waitForOutcomes([outcome, outcome, outcome])
    }
  }

  @Test("to interrupt before the first byte: the same as to refuse")
  func interruptEarly() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: "{}")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await rig.exchange { $0.refuse(.testRefusal) }
      #expect(try await client.answer().status == 503)
      try await upstream.waitUntilClosed()
    }
  }

  @Test("to withdraw an attempt: the instance's connection closes, and the request can go elsewhere")
  func withdraw() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: "{}")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      #expect(try await rig.exchange { $0.withdraw() })
      try await upstream.waitUntilClosed()
      #expect(try await rig.exchange { $0.withdraw() } == false)
      let address = try instance.address
      try await rig.exchange { $0.relay(to: address) }
      let again = try await instance.connection(1)
      _ = try await again.request()
      try await again.send(RelayTests.head("application/x-ndjson"))
      _ = try await client.head()
      #expect(try await rig.exchange { $0.withdraw() } == false, "the answer has begun")
      try await again.send(RelayTests.chunk(#"{"done":true}"# + "\n") + "0\r\n\r\n")
      while try await client.piece() != nil {}
      try await rig.waitForOutcomes([.served])
      #expect(try await rig.onLoop { _, delegate in delegate.failures.isEmpty })
    }
  }

  @Test("to answer itself")
  func respond() async throws {
    try await GatewayRig.run { rig in
      try await rig.set { delegate in
        delegate.onArrival = {
          $0.respond(status: 200, headers: [("Content-Type", "text/plain")], body: Array("Ollama is running".utf8))
        }
      }
      let client = try await rig.connect()
      try await client.send("GET", "/")
      let answer = try await client.answer()
      #expect(answer.text == "Ollama is running")
      #expect(answer.head["Content-Length"] == "17")
      try await client.send("HEAD", "/")
      let head = try await client.answer()
      #expect(head.head["Content-Length"] == "17")
      #expect(head.bytes.isEmpty)
      try await rig.waitForOutcomes([.served, .served])
    }
  }

  @Test("too late does nothing")
  func tooLate() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run { rig in
      try await rig.set { delegate in delegate.onArrival = { $0.refuse(.testRefusal) } }
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: "{}")
      _ = try await client.answer()
      let address = try instance.address
      try await rig.exchange { exchange in
        exchange.relay(to: address)
        exchange.refuse(.testRefusal)
        exchange.refuse(.testRefusal)
        exchange.respond(status: 200, headers: [], body: [])
        #expect(!exchange.withdraw())
      }
      #expect(instance.connectionCount == 0)
      try await rig.waitForOutcomes([.failed(.refused(code: "queue_full"))])
    }
  }

  @Test("from within the calls that tell it something")
  func fromWithin() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      try await rig.set { delegate in delegate.onFirstByte = { $0.refuse(.testRefusal) } }
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: "{}")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.send(
        RelayTests.head("application/x-ndjson") + RelayTests.chunk(#"{"done":true}"# + "\n") + "0\r\n\r\n")
      #expect(try await client.answer().text == #"{"error":"The queue is full."}"# + "\n")
      try await upstream.waitUntilClosed()
      try await rig.waitForOutcomes([.failed(.refused(code: "queue_full"))])
    }
  }

  @Test("to stop accepting: idle connections close, answers under way come to their end and close")
  func stopAccepting() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let idle = try await rig.connect()
      let busy = try await rig.connect()
      try await busy.send("POST", "/api/chat", body: "{}")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await rig.onLoop { gateway, _ in gateway.stopAccepting() }
      #expect(try await idle.readUntilClosed() == "")
      await #expect(throws: (any Error).self) { try await rig.connect() }
      try await upstream.answer("{}")
      let raw = try await busy.readUntilClosed()
      #expect(raw.contains("Connection: close\r\n"))
      #expect(raw.hasSuffix("{}"))
      try await rig.waitForOutcomes([.served])
    }
  }
}
