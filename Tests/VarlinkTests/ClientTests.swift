import Glibc
import NIOCore
import NIOPosix
import TestSupport
import Testing
import Varlink

@Suite("Client: calls, streams and their ends")
struct ClientTests {
  typealias Text = ExampleInterface.Text
  typealias Number = ExampleInterface.Number
  typealias Range = ExampleInterface.Range

  private func connect(
    to path: String, on group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
    timeout: Duration = .seconds(5)
  ) async throws -> VarlinkClient {
    try await VarlinkClient.connect(to: path, on: group, timeout: timeout)
  }

  /// A service that the test plays by hand.
  private func withRawService(_ body: (VarlinkClient, RawSocket) async throws -> Void) async throws {
    let folder = try TemporaryDirectory()
    let listener = try RawSocket.listening(at: folder.path(to: "s"))
    let client = try await connect(to: folder.path(to: "s"))
    try await body(client, try await listener.accept())
    await client.close()
  }

  // MARK: Connecting

  @Test("no socket, and a socket without a service, are told apart and explained")
  func cannotConnect() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "s")
    let missing = try await #require(throws: VarlinkError.self) { _ = try await connect(to: path) }
    #expect(missing.code == .cannotConnect(path: path, errno: ENOENT))
    #expect(missing.message.contains(path) && missing.message.contains("start the service"))
    _ = try RawSocket.listening(at: path)
    #expect(try await errorCode { _ = try await connect(to: path) } == .cannotConnect(path: path, errno: ECONNREFUSED))
    let long = folder.path(to: String(repeating: "x", count: 120))
    #expect(try await errorCode { _ = try await connect(to: long) } == .cannotConnect(path: long, errno: ENAMETOOLONG))
  }

  @Test("a socket without the right to write to it is an error that says so")
  func notPermitted() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "s")
    let listener = try RawSocket.listening(at: path)
    chmod(path, 0)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    if geteuid() == 0 {
      // Root passes all modes: the thread that connects gives up that right. It counts for this thread alone.
      let setFileSystemUser = try #require(dlsym(nil, "setfsuid"))
      let address = UInt(bitPattern: setFileSystemUser)
      try await group.next().submit {
        typealias Function = @convention(c) (uid_t) -> CInt
        _ = unsafeBitCast(address, to: Function.self)(65_534)
      }.get()
      chmod(folder.path, 0o755)
    }
    let error = try await #require(throws: VarlinkError.self) { _ = try await connect(to: path, on: group) }
    #expect(error.code == .cannotConnect(path: path, errno: EACCES))
    #expect(error.message.contains("write access"))
    #expect(listener.descriptor >= 0)
    try await group.shutdownGracefully()
  }

  @Test("a full backlog is waited for, up to the limit")
  func fullBacklog() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "s")
    let listener = try RawSocket.listening(at: path, backlog: 0)
    let first = try RawSocket.connected(to: path)
    #expect(
      try await errorCode { _ = try await connect(to: path, timeout: .milliseconds(100)) }
        == .cannotConnect(path: path, errno: EAGAIN))
    async let second = connect(to: path)
    let accepted = try await [listener.accept(), listener.accept()]
    #expect(try await second.isOpen)
    #expect(accepted.count == 2 && first.descriptor >= 0)
  }

  // MARK: Calls

  @Test("calls made at once from many tasks each get their own reply")
  func concurrentCalls() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<500 {
          group.addTask {
            let text = Text(text: "\(number)")
            let method = number.isMultiple(of: 2) ? "Echo" : "Later"
            let reply = try await client.call("org.example.Test.\(method)", text, as: Text.self)
            #expect(reply == text)
          }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test("a oneway call is sent, and the next call's reply is its own")
  func oneway() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      try await client.callOneway("org.example.Test.Note", Text(text: "noted"))
      #expect(try await client.call("org.example.Test.Echo", Text(text: "next")) == Text(text: "next"))
      #expect(fixture.example.texts == ["noted", "next"])
    }
  }

  @Test("a call that takes too long fails with a timeout, closes the connection, and those behind it fail, too")
  func timeout() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      let first = Task {
        try await errorCode {
          _ = try await client.call("org.example.Test.Hold", as: Text.self, timeout: .milliseconds(100))
        }
      }
      _ = try await fixture.example.heldCalls(1)
      let second = Task {
        try await errorCode { _ = try await client.call("org.example.Test.Echo", Text(text: "x"), as: Text.self) }
      }
      #expect(try await first.value == .timeout)
      #expect(try await second.value == .closed)
      #expect(!client.isOpen)
      try await eventually(within: patience, "the server notices") { fixture.example.closed.count == 1 }
      // Long before its time a call is left alone.
      let other = try await fixture.client()
      _ = try await other.call("org.example.Test.Echo", Text(text: "x"), as: Text.self, timeout: .seconds(60))
      #expect(other.isOpen)
    }
  }

  @Test("cancelling a call closes the connection")
  func cancelledCall() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      let call = Task { try await errorCode { _ = try await client.call("org.example.Test.Hold", as: Text.self) } }
      _ = try await fixture.example.heldCalls(1)
      call.cancel()
      #expect(try await call.value == .cancelled)
      try await eventually(within: patience, "the server notices") { fixture.example.closed.count == 1 }
      #expect(try await errorCode { _ = try await client.call("org.example.Test.Hold", as: Text.self) } == .closed)
      #expect(try await errorCode { try await client.callOneway("org.example.Test.Drop") } == .closed)
    }
  }

  @Test("a service that goes in the middle of a call leaves the caller with .closed")
  func serviceGoes() async throws {
    try await withRawService { client, service in
      async let code = errorCode { _ = try await client.call("a.B", as: Text.self) }
      let call = try await service.message()
      #expect(call == #"{"method":"a.B","parameters":{}}"#)
      shutdown(service.descriptor, CInt(SHUT_RDWR))
      #expect(try await code == .closed)
    }
  }

  @Test(
    "an answer that is no reply, or does not fit, is malformed",
    arguments: ["{", "[]", "", "{\"parameters\":{}}", "{\"parameters\":{\"text\":\"x\"},\"continues\":true}"])
  func malformedReply(answer: String) async throws {
    try await withRawService { client, service in
      async let code = errorCode { _ = try await client.call("a.B", as: Text.self) }
      _ = try await service.message()
      try await service.write(answer + "\0")
      #expect(try await code == .malformed)
    }
  }

  @Test("a message that nobody asked for closes the connection")
  func unasked() async throws {
    try await withRawService { client, service in
      try await service.write("{}\0")
      try await eventually(within: patience, "the client closes") { !client.isOpen }
      #expect(
        try await errorCode { _ = try await client.call("a.B", as: Text.self) } == .malformed)
    }
  }

  @Test("a reply that never ends closes the connection at the bound")
  func endlessReply() async throws {
    try await withRawService { client, service in
      async let code = errorCode { _ = try await client.call("a.B", as: Text.self) }
      _ = try await service.message()
      let chunk = [UInt8](repeating: 97, count: 65_536)
      var written = 0
      try await eventually(within: patience, every: .milliseconds(1), "the client closes") {
        var count = 0
        repeat {
          count = service.writeSome(chunk)
          written += max(count, 0)
        } while count > 0
        return count == -1
      }
      #expect(try await code == .malformed)
      #expect(written > VarlinkClient.maximumReplyBytes && written < VarlinkClient.maximumReplyBytes + 1_000_000)
    }
  }

  @Test("a client that is let go closes its connection")
  func letGo() async throws {
    try await withServer { fixture in
      var client: VarlinkClient? = try await fixture.client()
      _ = try await client?.call("org.example.Test.Echo", Text(text: "x"), as: Text.self)
      client = nil
      try await eventually(within: patience, "the server notices") { fixture.example.closed.count == 1 }
    }
  }

  // MARK: Streams

  @Test("a stream gives its replies in order and ends; then the connection takes calls again")
  func stream() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      for last in [1, 2, 1_000] {
        let stream = try await client.subscribe("org.example.Test.Count", Range(to: last), as: Number.self)
        var numbers: [Int] = []
        for try await reply in stream { numbers.append(reply.number) }
        #expect(numbers == Array(1...last))
      }
      #expect(try await client.call("org.example.Test.Echo", Text(text: "on")) == Text(text: "on"))
    }
  }

  @Test("an error ends a stream and leaves the connection")
  func streamError() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      let stream = try await client.subscribe("org.example.Test.Hold", as: Text.self)
      let call = try await fixture.example.heldCalls(1)[0]
      call.stream(Text(text: "one"))
      call.fail(VarlinkErrorReply("org.example.Test.Refused", ["text": "enough"]))
      var replies = stream.makeAsyncIterator()
      #expect(try await replies.next() == Text(text: "one"))
      let error = try await errorReply { _ = try await replies.next() }
      #expect(error == VarlinkErrorReply("org.example.Test.Refused", ["text": "enough"]))
      #expect(try await replies.next() == nil)
      #expect(try await client.call("org.example.Test.Echo", Text(text: "on")) == Text(text: "on"))
    }
  }

  @Test("while a stream has the connection, calls and further streams fail at once")
  func busy() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      let stream = try await client.subscribe("org.example.Test.Hold", as: Text.self)
      #expect(try await errorCode { _ = try await client.call("org.example.Test.Hold", as: Text.self) } == .busy)
      #expect(try await errorCode { _ = try await client.subscribe("org.example.Test.Hold", as: Text.self) } == .busy)
      #expect(try await errorCode { try await client.callOneway("org.example.Test.Drop") } == .busy)
      try await fixture.example.heldCalls(1)[0].reply(Text(text: "only"))
      #expect(try await stream.reduce(into: []) { $0.append($1.text) } == ["only"])
    }
  }

  @Test("cancelling the consumer, or letting the stream go, closes the connection")
  func abandonedStreams() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      let stream = try await client.subscribe("org.example.Test.Hold", as: Text.self)
      let consumer = Task { try await errorCode { for try await _ in stream {} } }
      _ = try await fixture.example.heldCalls(1)
      consumer.cancel()
      #expect(try await consumer.value == .cancelled)
      try await eventually(within: patience, "the server notices the cancelled one") {
        fixture.example.closed.count == 1
      }

      let other = try await fixture.client()
      func consumeOne() async throws {
        let stream = try await other.subscribe("org.example.Test.Hold", as: Text.self)
        try await fixture.example.heldCalls(2)[1].stream(Text(text: "one"))
        for try await reply in stream {
          #expect(reply == Text(text: "one"))
          break
        }
      }
      try await consumeOne()
      try await eventually(within: patience, "the server notices the one let go") {
        fixture.example.closed.count == 2
      }
      // The server may notice first.
      try await eventually(within: patience, "the client's side is closed") { !other.isOpen }
    }
  }

  @Test("a slow consumer holds the stream back in the kernel, and gets all of it")
  func slowConsumer() async throws {
    try await withServer(on: MultiThreadedEventLoopGroup.singleton.next()) { fixture in
      let client = try await fixture.client()
      let stream = try await client.subscribe("org.example.Test.Hold", as: Text.self)
      let call = try await fixture.example.heldCalls(1)[0]
      let witness = try await fixture.client()
      let padding = String(repeating: "x", count: 10_000)
      var sent = 0
      try await eventually(within: patience, "the service is held back") {
        while call.isWritable && sent < 10_000 {
          sent += 1
          call.stream(Text(text: padding))
        }
        // After this round trip the server's only event loop has written what was handed over to it. The client
        // may still be reading a little ahead.
        _ = try await witness.call("org.example.Test.WhoAmI", as: ExampleInterface.Who.self)
        return !call.isWritable
      }
      #expect(sent < 200)
      let expected = sent
      let reader = Task { try await stream.reduce(into: 0) { count, _ in count += 1 } }
      try await eventually(within: patience, "the service may go on") { call.isWritable }
      call.reply(Text(text: "last"))
      #expect(try await reader.value == expected + 1)
    }
  }
}
