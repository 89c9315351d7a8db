import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite("Back-pressure", .serialized)
struct BackPressureTests {
  @Test("holds an instance back while its client reads nothing, in bounded memory, and loses no byte")
  func slowReader() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: "{}")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.send(RelayTests.head("application/x-ndjson"))
      _ = try await client.head()
      try await client.pauseReading()

      // More than all buffers of the kernel hold.
      let line = #"{"response":""# + String(repeating: "x", count: 100) + #"","done":false}"# + "\n"
      let batch = String(repeating: RelayTests.chunk(line), count: 1000)
      let batches = 400
      let sending = Task {
        for _ in 0..<batches { try await upstream.send(batch) }
        try await upstream.send(RelayTests.chunk(#"{"done":true}"# + "\n") + "0\r\n\r\n")
      }
      try await eventually("the gateway holds the instance back") { try await rig.exchange { $0.isClientSlow } }
      // Its sight of the instance's progress does not age meanwhile.
      let age = try await rig.exchange { NIODeadline.now() - $0.lastProgress }
      #expect(age < .milliseconds(100))
      let held = try await rig.exchange { $0.connection?.backlog.readableBytes }
      #expect(try #require(held) <= 128 << 10)

      try await client.resumeReading()
      var count = 0
      while let piece = try await client.piece() { count += piece.bytes.count }
      #expect(count == batches * 1000 * line.utf8.count + #"{"done":true}"#.utf8.count + 1)
      try await sending.value
      try await rig.waitForOutcomes([.served])
      // The connection to the instance is as good as before.
      upstream.forget()
      try await client.send("GET", "/api/version")
      _ = try await upstream.request()
      try await upstream.answer("{}")
      #expect(try await client.answer().text == "{}")
    }
  }

  @Test("answers no further requests of a client that doesn't take its answers")
  func unreadAnswers() async throws {
    try await GatewayRig.run { rig in
      let answer = [UInt8](repeating: 7, count: 1 << 20)
      try await rig.set { delegate in delegate.onArrival = { $0.respond(status: 200, headers: [], body: answer) } }
      let client = try await rig.connect()
      try await client.pauseReading()
      let count = 40
      // One at a time, so that none waits behind another on its way in.
      for _ in 0..<count { try await client.send("GET", "/") }
      try await rig.waitForArrivals(1)
      let arrived = try await rig.onLoop { _, delegate in delegate.arrived.count }
      #expect(arrived < count)
      try await client.resumeReading()
      for _ in 0..<count { #expect(try await client.answer().bytes.count == answer.count) }
      #expect(try await rig.outcomes.count == count)
    }
  }

  @Test("a client that is slow to take the end of its answer has longer for it than one without a request may stay")
  func slowTail() async throws {
    var limits = GatewayLimits()
    limits.idleTime = .milliseconds(100)
    try await GatewayRig.run(limits: limits) { rig in
      // In one piece, and more than the buffers of the kernel hold.
      let answer = [UInt8](repeating: 7, count: 30 << 20)
      try await rig.set { delegate in delegate.onArrival = { $0.respond(status: 200, headers: [], body: answer) } }
      let client = try await rig.connect()
      try await client.pauseReading()
      try await client.send("GET", "/")
      try await rig.waitForOutcomes([.served])
      let idle = try await rig.connect()
      #expect(try await idle.readUntilClosed() == "")
      try await client.resumeReading()
      #expect(try await client.answer().bytes.count == answer.count)
    }
  }

  @Test("gives up a client that takes nothing for too long")
  func stalledClient() async throws {
    let instance = try await FakeInstance.start()
    var limits = GatewayLimits()
    limits.clientStall = .milliseconds(200)
    try await GatewayRig.run(limits: limits, relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: "{}")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.send(RelayTests.head("application/x-ndjson"))
      _ = try await client.head()
      try await client.pauseReading()
      let sending = Task {
        let batch = RelayTests.chunk(String(repeating: "x", count: 60_000))
        while !Task.isCancelled { try await upstream.send(batch) }
      }
      try await rig.waitForOutcomes([.cancelled])
      try await upstream.waitUntilClosed()
      sending.cancel()
      _ = await sending.result
    }
  }

  @Test("streams an upload of 200 MB to the instance, as fast as it takes it, in bounded memory")
  func upload() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      let size = 200 << 20
      let piece = [UInt8](repeating: 7, count: 1 << 20)
      try await client.send(
        raw: "POST /api/blobs/sha256:abc HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
          + "Content-Length: \(size)\r\n\r\n")
      let upstream = try await instance.connection()
      #expect(try await client.head().status == 100)
      try await eventually("the head arrives") { upstream.received.hasSuffix("\r\n\r\n") }
      #expect(upstream.received.contains("Content-Length: \(size)\r\n"))
      let headSize = upstream.receivedCount
      upstream.onlyCount()
      try await upstream.pauseReading()
      let sending = Task { for _ in 0..<(size / piece.count) { try await client.send(raw: piece) } }
      try await eventually("the gateway holds the client back") {
        try await rig.exchange { $0.streamedBytes } >= Exchange.streamedBytesLimit
      }
      let taken = try await rig.exchange { $0.bodyBytes }
      #expect(taken < size / 2)
      try await upstream.resumeReading()
      var most = 0
      try await eventually(within: .seconds(60), "the upload arrives") {
        most = max(most, try await rig.exchange { $0.streamedBytes })
        return upstream.receivedCount == headSize + size
      }
      #expect(most <= 2 * Exchange.streamedBytesLimit)
      try await sending.value
      try await upstream.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
      #expect(try await client.answer().status == 201)
      #expect(try await rig.heldBytes == 0)
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("gives up an instance that takes no more of an upload")
  func stalledUpload() async throws {
    let instance = try await FakeInstance.start()
    var limits = GatewayLimits()
    limits.uploadStall = .milliseconds(200)
    try await GatewayRig.run(limits: limits, relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(
        raw: "POST /api/blobs/sha256:abc HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(1 << 30)\r\n\r\n")
      let upstream = try await instance.connection()
      try await upstream.pauseReading()
      let sending = Task {
        while !Task.isCancelled { try await client.send(raw: [UInt8](repeating: 7, count: 1 << 20)) }
      }
      try await rig.waitForOutcomes([.failed(.instanceLost)])
      sending.cancel()
      let answer = try await client.answer()
      #expect(answer.status == 502)
      await client.close()
      _ = await sending.result
    }
  }

  @Test("deals with an upload in tens of thousands of tiny chunks in time that grows with their number alone")
  func tinyChunks() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      let count = 60_000
      try await client.send(
        raw: "POST /api/create HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
          + String(repeating: "1\r\nx\r\n", count: count) + "0\r\n\r\n")
      try await eventually("all wait") { try await rig.exchange { $0.bodyBytes } == count }
      #expect(try await rig.exchange { $0.streamedParts.count } <= count / 1000)
      let address = try instance.address
      try await rig.exchange { $0.relay(to: address) }
      let upstream = try await instance.connection()
      try await eventually("they arrive") { upstream.received.hasSuffix("\r\n0\r\n\r\n") }
      #expect(upstream.received.count { $0 == "x" } == count)
      try await upstream.answer("{}")
      #expect(try await client.answer().status == 200)
    }
  }

  @Test("passes an upload in chunks on in chunks, before it is complete")
  func chunkedUpload() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(
        raw: "POST /api/create HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
          + RelayTests.chunk("first"))
      let upstream = try await instance.connection()
      try await eventually("the first part arrives") { upstream.received.hasSuffix("\r\n\r\n5\r\nfirst\r\n") }
      #expect(try await rig.exchange { $0.isReplayable } == false)
      try await client.send(raw: RelayTests.chunk("second") + "0\r\nX-Trailer: dropped\r\n\r\n")
      try await eventually("the rest arrives") { upstream.received.hasSuffix("6\r\nsecond\r\n0\r\n\r\n") }
      try await upstream.send(
        RelayTests.head("application/x-ndjson") + RelayTests.chunk(#"{"status":"success"}"# + "\n") + "0\r\n\r\n")
      #expect(try await client.answer().status == 200)
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("an upload that the instance refuses early ends with the instance's answer")
  func earlyAnswer() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(
        raw: "POST /api/blobs/sha256:abc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nstart")
      let upstream = try await instance.connection()
      try await eventually("the start arrives") { upstream.received.hasSuffix("start") }
      try await upstream.answer(#"{"error":"bad digest"}"#, status: 400)
      let answer = try await client.answer()
      #expect(answer.status == 400)
      #expect(answer.head["Connection"] == "close")
      try await upstream.waitUntilClosed()
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("an upload whose instance fails is not sent elsewhere once a part has gone out")
  func failedUpload() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      try await rig.set { delegate in delegate.onFailure = { _, _ in .wait } }
      let client = try await rig.connect()
      try await client.send(
        raw: "POST /api/blobs/sha256:abc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nstart")
      let upstream = try await instance.connection()
      try await eventually("the start arrives") { upstream.received.hasSuffix("start") }
      #expect(try await rig.exchange { $0.withdraw() } == false)
      await upstream.close()
      #expect(try await client.answer().status == 502)
      try await rig.waitForOutcomes([.failed(.instanceLost)])
    }
  }

  @Test("an upload goes on while the instance answers already")
  func answerDuringUpload() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      let size = 20 << 20
      try await client.send(
        raw: "POST /api/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(size)\r\n\r\n")
      let upstream = try await instance.connection()
      try await eventually("the head arrives") { upstream.received.hasSuffix("\r\n\r\n") }
      let headSize = upstream.receivedCount
      upstream.onlyCount()
      try await upstream.pauseReading()
      let sending = Task { try await client.send(raw: [UInt8](repeating: 7, count: size)) }
      try await eventually("the gateway holds the client back") {
        try await rig.exchange { $0.streamedBytes } >= Exchange.streamedBytesLimit
      }
      try await upstream.send(RelayTests.head("application/x-ndjson"))
      #expect(try await client.head()["Connection"] == "close")
      try await upstream.resumeReading()
      try await eventually("the whole upload arrives") { upstream.receivedCount == headSize + size }
      try await sending.value
      try await upstream.send(RelayTests.chunk(#"{"status":"success"}"# + "\n") + "0\r\n\r\n")
      #expect(try await client.piece()?.text == #"{"status":"success"}"# + "\n")
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("a part of an upload without content does not end it")
  func emptyPart() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(raw: BadRequestTests.post("Transfer-Encoding: chunked\r\n", path: "/api/create"))
      let upstream = try await instance.connection()
      try await eventually("the head arrives") { upstream.received.hasSuffix("\r\n\r\n") }
      try await rig.exchange { try $0.bodyArrived(ByteBuffer()) }
      try await client.send(raw: "2\r\n{}\r\n0\r\n\r\n")
      try await eventually("the upload arrives") { upstream.received.hasSuffix("\r\n\r\n2\r\n{}\r\n0\r\n\r\n") }
      try await upstream.answer("{}")
      #expect(try await client.answer().status == 200)
    }
  }

  @Test("a client that waits to be asked for its upload may wait as long as its exchange does")
  func awaitedUpload() async throws {
    let instance = try await FakeInstance.start()
    var limits = GatewayLimits()
    limits.bodyPause = .milliseconds(100)
    try await GatewayRig.run(limits: limits) { rig in
      let client = try await rig.connect()
      let head = "POST /api/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
      try await client.send(raw: head + "Expect: 100-continue\r\n\r\n")
      try await rig.waitForArrivals(1)
      // Another client's body, sent later, runs into the limit meanwhile.
      let slow = try await rig.connect()
      try await slow.send(raw: head + "\r\n")
      #expect(try await slow.answer().status == 408)
      let address = try instance.address
      try await rig.exchange { $0.relay(to: address) }
      #expect(try await client.head().status == 100)
      try await client.send(raw: "{}")
      let upstream = try await instance.connection()
      #expect(try await upstream.request().hasSuffix("\r\n\r\n{}"))
      try await upstream.answer("{}")
      #expect(try await client.answer().status == 200)
      try await rig.waitForOutcomes([.failed(.requestBody(.requestTimeout)), .served])
    }
  }

  @Test("what a slow client has not taken when the gateway stops accepting still reaches it")
  func stopWhileSlow() async throws {
    try await GatewayRig.run { rig in
      let size = 30 << 20
      try await rig.set { delegate in
        delegate.onArrival = {
          $0.respond(status: 200, headers: [], body: [UInt8](repeating: 7, count: size))
        }
      }
      let client = try await rig.connect()
      try await client.pauseReading()
      try await client.send("GET", "/")
      try await rig.waitForOutcomes([.served])
      try await rig.onLoop { gateway, _ in gateway.stopAccepting() }
      try await client.resumeReading()
      #expect(try await client.answer().bytes.count == size)
      #expect(try await client.readUntilClosed() == "")
    }
  }
}
