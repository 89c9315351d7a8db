import Glibc
import NIOCore
import NIOPosix
import TestSupport
import Testing
import Varlink

@Suite("Server: calls and their answers")
struct ServerTests {
  typealias Text = ExampleInterface.Text
  typealias Number = ExampleInterface.Number

  @Test("a call gets its reply, also from another thread")
  func call() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      #expect(try await client.call("org.example.Test.Echo", Text(text: "a\u{0}b")) == Text(text: "a\u{0}b"))
      #expect(try await client.call("org.example.Test.Later", Text(text: "later")) == Text(text: "later"))
    }
  }

  @Test("the server tells what it is and what it serves")
  func introspection() async throws {
    struct Info: Decodable { var vendor, product, version, url: String, interfaces: [String] }
    struct Wanted: Encodable { var interface: String }
    struct Found: Decodable { var description: String }
    try await withServer { fixture in
      let client = try await fixture.client()
      let info = try await client.call("org.varlink.service.GetInfo", as: Info.self)
      #expect(info.product == "example" && info.version == "1.2.3")
      #expect(info.interfaces == ["org.varlink.service", "org.example.Test"])
      for name in info.interfaces {
        let found = try await client.call(
          "org.varlink.service.GetInterfaceDescription", Wanted(interface: name), as: Found.self)
        #expect(found.description.contains("interface \(name)\n"))
      }
      let unknown = try await errorReply {
        _ = try await client.call(
          "org.varlink.service.GetInterfaceDescription", Wanted(interface: "a.b"), as: Found.self)
      }
      #expect(unknown == .interfaceNotFound("a.b"))
    }
  }

  @Test("each wrong call gets the error that names what is wrong, and the connection goes on")
  func errors() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      func error(_ method: String, _ parameters: JSONValue = [:]) async throws -> VarlinkErrorReply {
        try await errorReply { _ = try await client.call(method, parameters, as: NoParameters.self) }
      }
      #expect(try await error("org.example.Other.Echo") == .interfaceNotFound("org.example.Other"))
      #expect(try await error("Echo") == .interfaceNotFound("Echo"))
      #expect(try await error("") == .interfaceNotFound(""))
      #expect(try await error("org.example.Test.Nope") == .methodNotFound("org.example.Test.Nope"))
      #expect(try await error("org.varlink.service.Nope") == .methodNotFound("org.varlink.service.Nope"))
      #expect(try await error("org.example.Test.Echo") == .invalidParameter("text"))
      #expect(try await error("org.example.Test.Echo", ["text": 1]) == .invalidParameter("text"))
      #expect(
        try await error("org.example.Test.Slots", ["instances": [["id": "a", "slots": 1], ["id": "b"]]])
          == .invalidParameter("instances[1].slots"))
      #expect(try await error("org.example.Test.Forbidden") == .permissionDenied)
      #expect(
        try await error("org.example.Test.Refuse", ["text": "no"])
          == VarlinkErrorReply("org.example.Test.Refused", ["text": "no"]))
      #expect(try await error("org.example.Test.Count", ["to": 3]) == .expectedMore)
      #expect(try await client.call("org.example.Test.Echo", Text(text: "on")) == Text(text: "on"))
    }
  }

  @Test("a call that is let go, or whose answer cannot be written, is answered with an error that says so")
  func withoutAnswer() async throws {
    try await withServer { fixture in
      let client = try await fixture.client()
      for (method, reason) in [("Drop", "without an answer"), ("Unspeakable", "cannot be written as JSON")] {
        let error = try await errorReply {
          _ = try await client.call("org.example.Test.\(method)", as: NoParameters.self)
        }
        #expect(error.name == "org.varlink.service.MethodNotImplemented")
        #expect(error.parameters["method"]?.string == "org.example.Test.\(method)")
        #expect(error.parameters["reason"]?.string?.contains(reason) == true)
      }
    }
  }

  @Test("an upgrade is refused")
  func upgrade() async throws {
    try await withServer { fixture in
      let socket = try RawSocket.connected(to: fixture.path)
      try await socket.write("{\"method\":\"org.example.Test.Drop\",\"upgrade\":true}\0")
      let answer = #"{"error":"org.varlink.service.InvalidParameter","parameters":{"parameter":"upgrade"}}"#
      #expect(try await socket.message() == answer)
    }
  }

  @Test("oneway calls are made in order, and none of them is answered, whatever it does")
  func oneway() async throws {
    try await withServer { fixture in
      let socket = try RawSocket.connected(to: fixture.path)
      for method in ["Drop", "Forbidden", "Nope", "Count", "Unspeakable"] {
        try await socket.write("{\"method\":\"org.example.Test.\(method)\",\"oneway\":true,\"more\":true}\0")
      }
      for text in ["one", "two"] {
        try await socket.write(
          "{\"method\":\"org.example.Test.Note\",\"parameters\":{\"text\":\"\(text)\"},\"oneway\":true}\0")
      }
      try await socket.write("{\"method\":\"org.example.Test.Echo\",\"parameters\":{\"text\":\"three\"}}\0")
      #expect(try await socket.message() == #"{"parameters":{"text":"three"}}"#)
      #expect(fixture.example.texts == ["one", "two", "three"])
    }
  }

  @Test("calls of one connection are taken up one at a time and answered in order")
  func order() async throws {
    try await withServer { fixture in
      let socket = try RawSocket.connected(to: fixture.path)
      try await socket.write("{\"method\":\"org.example.Test.Hold\"}\0")
      try await socket.write("{\"method\":\"org.example.Test.Later\",\"parameters\":{\"text\":\"second\"}}\0")
      try await socket.write("{\"method\":\"org.example.Test.Echo\",\"parameters\":{\"text\":\"third\"}}\0")
      let held = try await fixture.example.heldCalls(1)
      // A call on another connection is a round trip in which the third would have been made, were it not waiting.
      _ = try await fixture.client().call("org.example.Test.WhoAmI", as: ExampleInterface.Who.self)
      #expect(fixture.example.texts == [])
      held[0].reply(Text(text: "first"))
      held[0].reply(Text(text: "again"))
      held[0].fail(.permissionDenied)
      for expected in ["first", "second", "third"] {
        #expect(try await socket.message() == "{\"parameters\":{\"text\":\"\(expected)\"}}")
      }
    }
  }

  @Test("thousands of calls in one write are all answered, without recursion")
  func pipelined() async throws {
    try await withServer { fixture in
      let count = 20_000
      let socket = try RawSocket.connected(to: fixture.path)
      // As short as a call can be, so that as many as possible are there at once.
      let writer = Task { try await socket.write(String(repeating: "{\"method\":\"\"}\0", count: count)) }
      var unexpected = 0
      for _ in 0..<count {
        let message = try await socket.message()
        if message?.contains("InterfaceNotFound") != true { unexpected += 1 }
      }
      #expect(unexpected == 0)
      try await writer.value
    }
  }

  @Test("a peer's user, group and process are those that the kernel tells")
  func peer() async throws {
    try await withServer { fixture in
      let first = try await fixture.client()
      let second = try await fixture.client()
      let one = try await first.call("org.example.Test.WhoAmI", as: ExampleInterface.Who.self)
      let two = try await second.call("org.example.Test.WhoAmI", as: ExampleInterface.Who.self)
      #expect(one.uid == geteuid() && one.gid == getegid() && one.pid == getpid())
      #expect(one.connection != two.connection)
    }
  }

  @Test("given one event loop, handlers run on it")
  func oneLoop() async throws {
    final class LoopProbe: VarlinkInterface {
      let name = "org.example.Loop"
      let description = "interface org.example.Loop\nmethod Where() -> (here: bool)\n"
      let loop: any EventLoop
      init(_ loop: any EventLoop) { self.loop = loop }
      func handle(_ call: VarlinkCall) { call.reply(["here": loop.inEventLoop]) }
    }
    let folder = try TemporaryDirectory()
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let server = try await VarlinkServer.start(
      at: .path(folder.path(to: "s")), serving: [LoopProbe(loop)], as: Fixture.service, on: loop)
    for _ in 0..<4 {
      let client = try await VarlinkClient.connect(
        to: folder.path(to: "s"), on: MultiThreadedEventLoopGroup.singleton)
      #expect(try await client.call("org.example.Loop.Where", as: [String: Bool].self) == ["here": true])
    }
    await server.close()
  }

  @Test("200 clients at once are all served")
  func manyClients() async throws {
    try await withServer { fixture in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<200 {
          group.addTask {
            let client = try await fixture.client()
            for round in 0..<10 {
              let text = Text(text: "\(number).\(round)")
              #expect(try await client.call("org.example.Test.Echo", text) == text)
            }
            let stream = try await client.subscribe(
              "org.example.Test.Count", ExampleInterface.Range(to: 5), as: Number.self)
            #expect(try await stream.reduce(into: []) { $0.append($1.number) } == [1, 2, 3, 4, 5])
          }
        }
        try await group.waitForAll()
      }
      try await eventually(within: patience, "all connections are gone") {
        fixture.example.closed.count == 200
      }
      #expect(Set(fixture.example.closed).count == 200)
    }
  }
}
