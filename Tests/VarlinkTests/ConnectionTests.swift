import Dispatch
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing
import Varlink

@Suite("Connections: what one peer does costs that peer alone")
struct ConnectionTests {
  typealias Text = ExampleInterface.Text
  typealias Number = ExampleInterface.Number

  private func echoes(_ client: VarlinkClient, _ text: String = "still here") async throws -> Bool {
    try await client.call("org.example.Test.Echo", Text(text: text)) == Text(text: text)
  }

  @Test(
    "a malformed message closes its connection alone, after the answers to those before it",
    arguments: ["{", "[]", "\u{7f}ELF", "{\"parameters\":{}}", "", "GET / HTTP/1.1\r\n\r\n"])
  func malformed(garbage: String) async throws {
    try await withServer { fixture in
      let witness = try await fixture.client()
      let socket = try RawSocket.connected(to: fixture.path)
      try await socket.write("{\"method\":\"org.example.Test.Echo\",\"parameters\":{\"text\":\"before\"}}\0")
      try await socket.write(garbage + "\0")
      _ = socket.writeSome(Array("{\"method\":\"org.example.Test.Echo\",\"parameters\":{\"text\":\"after\"}}\0".utf8))
      #expect(try await socket.message() == #"{"parameters":{"text":"before"}}"#)
      #expect(try await socket.message() == nil)
      #expect(try await echoes(witness))
      #expect(fixture.example.texts == ["before", "still here"])
    }
  }

  @Test("a message that is too long closes its connection alone")
  func overlong() async throws {
    var limits = VarlinkLimits()
    limits.maximumMessageBytes = 10_000
    try await withServer(limits: limits) { fixture in
      let witness = try await fixture.client()
      let longest = String(repeating: "x", count: 9_900)
      #expect(try await echoes(witness, longest))
      let error = try await errorCode {
        _ = try await fixture.client().call(
          "org.example.Test.Echo", Text(text: longest + longest), as: Text.self)
      }
      #expect(error == .closed)
      let endless = try RawSocket.connected(to: fixture.path)
      try await eventually(within: patience, "a message without an end is cut off") {
        endless.writeSome([UInt8](repeating: 97, count: 4_096)) == -1
      }
      #expect(try await echoes(witness))
    }
  }

  @Test("a connection that goes tells its open call and the server, once each")
  func closing() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      #expect(try await echoes(client))
      let waiting = Task { try await errorCode { _ = try await client.call("org.example.Test.Hold", as: Text.self) } }
      let call = try await fixture.example.heldCalls(1)[0]
      #expect(call.isOpen)
      await client.close()
      #expect(try await waiting.value == .closed)
      try await eventually(within: patience, "the server notices") { fixture.example.closed.count == 1 }
      #expect(fixture.example.closed == [call.connection])
      #expect(!call.isOpen && !call.isWritable)
      call.stream(Text(text: "nobody"))
      call.reply(Text(text: "nobody"))
    }
  }

  @Test("a peer that goes is noticed although it has left more calls than the server reads ahead")
  func closingBehindUnreadCalls() async throws {
    try await withServer { fixture in
      var socket: RawSocket? = try RawSocket.connected(to: fixture.path)
      try await socket?.write("{\"method\":\"org.example.Test.Hold\",\"more\":true}\0")
      _ = try await fixture.example.heldCalls(1)
      let call = "{\"method\":\"org.example.Test.Note\",\"parameters\":{\"text\":\"never\"}}\0"
      _ = try await socket?.writeUntilFull(call)
      socket = nil
      try await eventually(within: patience, "the server notices") { fixture.example.closed.count == 1 }
      #expect(fixture.example.texts == [])
    }
  }

  @Test("a subscriber that never reads is cut off at the bound, and the others get all")
  func slowSubscriber() async throws {
    try await withServer { fixture in
      let slow = try RawSocket.connected(to: fixture.path)
      try await slow.write("{\"method\":\"org.example.Test.Hold\",\"more\":true}\0")
      let slowCall = try await fixture.example.heldCalls(1)[0]
      let client = try await fixture.client()
      let stream = try await client.subscribe("org.example.Test.Hold", as: Text.self)
      let call = try await fixture.example.heldCalls(2)[1]
      var replies = stream.makeAsyncIterator()

      let text = Text(text: String(repeating: "x", count: 10_000))
      // What may be kept for it is the bound, one push, and what the kernel holds.
      let bound = VarlinkLimits().maximumUnreadBytes
      var pushes = 0
      while slowCall.isOpen && pushes * 10_000 < bound + 1_000_000 {
        pushes += 1
        slowCall.stream(text)
        call.stream(text)
        let reply = try await replies.next()
        #expect(reply == text)
      }
      call.reply(Text(text: "last"))
      #expect(try await replies.next() == Text(text: "last"))
      #expect(pushes * 10_000 >= bound)
      try await eventually(within: patience, "it is cut off") { !slowCall.isOpen }
      #expect(try await slow.drain() < bound)
    }
  }

  @Test("a stream of states that skips while its reader is slow keeps the reader, and ends with the latest")
  func coalescing() async throws {
    try await withServer(on: MultiThreadedEventLoopGroup.singleton.next()) { fixture in
      let slow = try RawSocket.connected(to: fixture.path)
      try await slow.write("{\"method\":\"org.example.Test.Hold\",\"more\":true}\0")
      let call = try await fixture.example.heldCalls(1)[0]
      let padding = String(repeating: "x", count: 10_000)
      var sent = 0
      let witness = try await fixture.client()
      try await eventually(within: patience, "the slow one cannot be written to") {
        while call.isWritable && sent < 1_000 {
          sent += 1
          call.stream(Text(text: padding))
        }
        // After this round trip the server's only event loop has written what was handed over to it.
        return try await echoes(witness) && !call.isWritable
      }
      #expect(call.isOpen && sent < 200)
      for _ in 0..<sent { #expect(try await slow.message()?.contains("continues") == true) }
      try await eventually(within: patience, "it may write again") { call.isWritable }
      call.reply(Text(text: "latest"))
      #expect(try await slow.message() == #"{"parameters":{"text":"latest"}}"#)
    }
  }

  @Test("a peer that calls and never reads the answers is not called for until it reads")
  func neverReading() async throws {
    try await withServer { fixture in
      let socket = try RawSocket.connected(to: fixture.path)
      let text = String(repeating: "x", count: 5_000)
      let call = "{\"method\":\"org.example.Test.Echo\",\"parameters\":{\"text\":\"\(text)\"}}\0"
      let written = try await socket.writeUntilFull(call, atMost: 10_000_000)
      // Answers in the kernel and some in the channel, calls in the kernel and some read ahead: no more than that.
      let answered = fixture.example.texts.count
      #expect(answered * 5_000 < 1_000_000 && written < 2_000_000)
      // Having read, it gets them all: the last call may lack its end, and is not counted.
      for _ in 0..<(written / call.utf8.count) {
        let message = try await socket.message()
        #expect(message?.contains(text) == true)
      }
    }
  }

  @Test("an event loop that is behind counts as a peer that does not keep up")
  func busyLoop() async throws {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    try await withServer(on: loop) { fixture in
      let socket = try RawSocket.connected(to: fixture.path)
      try await socket.write("{\"method\":\"org.example.Test.Hold\",\"more\":true}\0")
      let call = try await fixture.example.heldCalls(1)[0]
      let goOn = DispatchSemaphore(value: 0)
      loop.execute { goOn.wait() }
      var sent = 0
      while call.isWritable && sent < 100 {
        sent += 1
        call.stream(Text(text: String(repeating: "x", count: 10_000)))
      }
      goOn.signal()
      #expect(sent == 7)
      try await eventually(within: patience, "it may write again") { call.isWritable }
    }
  }

  @Test("connections beyond the bounds are closed, and room is made when others go")
  func tooMany() async throws {
    var limits = VarlinkLimits()
    // The tests' user is the server's own.
    limits.maximumConnections = 3
    limits.reservedConnections = 2
    try await withServer(limits: limits) { fixture in
      var clients: [VarlinkClient] = []
      for _ in 0..<5 {
        let client = try await fixture.client()
        #expect(try await echoes(client))
        clients.append(client)
      }
      for _ in 0..<20 {
        #expect(try await RawSocket.connected(to: fixture.path).message() == nil)
      }
      await clients.removeLast().close()
      try await eventually(within: patience, "there is room again") { try await echoes(fixture.client()) }
      for client in clients { #expect(try await echoes(client)) }
    }
  }

  @Test("a server that closes takes its connections with it and drops what is answered later")
  func serverCloses() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let held = Mutex<VarlinkCall?>(nil)
    try await withServer(on: group) { fixture in
      let client = try await fixture.client()
      let waiting = Task { try await errorCode { _ = try await client.call("org.example.Test.Hold", as: Text.self) } }
      let call = try await fixture.example.heldCalls(1)[0]
      held.withLock { $0 = call }
      await fixture.server.close()
      #expect(try await waiting.value == .closed)
      #expect(try await errorCode { _ = try await fixture.client() } == .cannotConnect(path: fixture.path, errno: 2))
    }
    try await group.shutdownGracefully()
    held.withLock { $0 }?.reply(Text(text: "too late"))
  }
}
