import FoundationEssentials
import NIOCore
import Testing

@testable import Varlink

@Suite("Messages: JSON to types and back")
struct MessageTests {
  private struct Pair: Codable, Equatable { var name: String, count: Int }
  private struct Nested: Codable { var pairs: [Pair] }
  private struct Perhaps: Codable, Equatable { var name: String? }

  private func message(_ text: String) -> Data { Data(text.utf8) }

  private func text(_ frame: ByteBuffer) -> String { String(buffer: frame) }

  @Test("a call's flags are read, and absent or null ones are false")
  func flags() throws {
    let bare = try VarlinkMessage.callHead(of: message(#"{"method":"a.B","more":null}"#))
    #expect(bare.method == "a.B" && !bare.more && !bare.oneway && !bare.upgrade)
    let full = try VarlinkMessage.callHead(
      of: message(#"{"upgrade":true,"oneway":true,"more":true,"parameters":{},"method":"a.B","unknown":1}"#))
    #expect(full.more && full.oneway && full.upgrade)
  }

  @Test(
    "what is no call is malformed",
    arguments: [
      "", " ", "{", "}", "null", "1", "\"text\"", "[]", "[{\"method\":\"a.B\"}]", "{}", #"{"parameters":{}}"#,
      #"{"method":null}"#, #"{"method":1}"#, #"{"method":"a.B","more":1}"#, #"{"method":"a.B","oneway":"yes"}"#,
      #"{"method":"a.B","parameters":[]}"#, #"{"method":"a.B","parameters":1}"#, #"{"method":"a.B"} {}"#,
      #"{'method':'a.B'}"#, "GET / HTTP/1.1\r\n\r\n",
    ])
  func malformed(text: String) throws {
    let error = try #require(throws: VarlinkError.self) { try VarlinkMessage.callHead(of: message(text)) }
    #expect(error.code == .malformed)
  }

  @Test("bytes that are no UTF-8 are malformed")
  func notUTF8() {
    let bytes = Data(#"{"method":""#.utf8) + Data([0xff, 0xfe, 0xc0]) + Data(#""}"#.utf8)
    #expect(throws: VarlinkError.self) { try VarlinkMessage.callHead(of: bytes) }
  }

  @Test("missing and null parameters count as an empty object")
  func noParameters() throws {
    for text in [#"{"method":"a.B"}"#, #"{"method":"a.B","parameters":null}"#, #"{"method":"a.B","parameters":{}}"#] {
      #expect(try VarlinkMessage.parameters(of: message(text), as: NoParameters.self) == NoParameters())
      #expect(try VarlinkMessage.parameters(of: message(text), as: Perhaps.self) == Perhaps(name: nil))
      let error = #expect(throws: VarlinkErrorReply.self) {
        try VarlinkMessage.parameters(of: message(text), as: Pair.self)
      }
      #expect(error == .invalidParameter("name"))
    }
  }

  @Test(
    "a parameter that does not fit is named",
    arguments: [
      (#"{"pairs":[]}"#, nil),
      (#"{}"#, "pairs"),
      (#"{"pairs":1}"#, "pairs"),
      (#"{"pairs":[{"name":"a","count":1},{"name":"b"}]}"#, "pairs[1].count"),
      (#"{"pairs":[{"name":null,"count":1}]}"#, "pairs[0].name"),
      (#"{"pairs":[{"name":"a","count":"1"}]}"#, "pairs[0].count"),
      // A number that the type cannot hold: the decoder does not tell where it stands.
      (#"{"pairs":[{"name":"a","count":1.5}]}"#, "parameters"),
      (#"{"pairs":[{"name":"a","count":99999999999999999999}]}"#, "parameters"),
    ] as [(String, String?)])
  func named(parameters: String, expected: String?) {
    let call = message(#"{"method":"a.B","parameters":"# + parameters + "}")
    var found: VarlinkErrorReply?
    do { _ = try VarlinkMessage.parameters(of: call, as: Nested.self) } catch { found = error }
    #expect(found == expected.map { .invalidParameter($0) })
  }

  @Test("what is written is one line of JSON ended by its only NUL, and reads back the same")
  func roundTrip() throws {
    let pair = Pair(name: "nul \u{0} in/side, \u{1F999}", count: -1)
    let frame = try VarlinkMessage.call("a.B", pair, more: true)
    #expect(frame.readableBytesView.firstIndex(of: 0) == frame.writerIndex - 1)
    let bytes = Data(frame.readableBytesView.dropLast())
    #expect(try VarlinkMessage.callHead(of: bytes).more)
    #expect(try VarlinkMessage.parameters(of: bytes, as: Pair.self) == pair)
    #expect(text(try VarlinkMessage.reply(NoParameters(), continues: false)) == "{\"parameters\":{}}\0")
  }

  @Test("a reply is read with its type, and an error with its name and parameters")
  func replies() throws {
    let reply = try VarlinkMessage.readReply(
      message(#"{"parameters":{"name":"a","count":1},"continues":true}"#), as: Pair.self)
    #expect(reply.parameters == Pair(name: "a", count: 1) && reply.continues)
    let last = try VarlinkMessage.readReply(message("{}"), as: NoParameters.self)
    #expect(!last.continues)
    let error = #expect(throws: VarlinkError.self) {
      try VarlinkMessage.readReply(
        message(#"{"error":"a.Bad","parameters":{"why":["x",1,2.5,true,null]}}"#), as: Pair.self)
    }
    #expect(error?.code == .remote(VarlinkErrorReply("a.Bad", ["why": ["x", 1, .double(2.5), true, .null]])))
    #expect(error?.message == "the service answered a.Bad (why: [x, 1, 2.5, true, null])")
  }

  @Test("a reply that does not fit says what is wrong")
  func misfit() throws {
    let error = try #require(throws: VarlinkError.self) {
      try VarlinkMessage.readReply(message(#"{"parameters":{"name":"a"}}"#), as: Pair.self)
    }
    #expect(error.code == .malformed)
    #expect(error.message == "a message is no reply of the type Pair: parameters.count is missing")
  }

  @Test("deep nesting is an error or a value, never a crash")
  func deep() {
    for depth in [100, 510, 600, 100_000] {
      let value = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
      let reply = message(#"{"error":"a.Bad","parameters":{"deep":"# + value + "}}")
      let error = #expect(throws: VarlinkError.self) { try VarlinkMessage.readReply(reply, as: Pair.self) }
      if depth > 512 { #expect(error?.code == .malformed) }
      let call = message(#"{"method":"a.B","parameters":{"deep":"# + value + "}}")
      _ = try? VarlinkMessage.callHead(of: call)
    }
  }

  @Test("any JSON survives as a value")
  func values() throws {
    let value: JSONValue = [
      "null": .null, "yes": true, "big": .integer(.max), "small": .integer(.min), "half": .double(0.5),
      "huge": .double(1e300), "list": [1, "two", [:]], "object": ["a": ["b": "c"]],
    ]
    let data = try JSONEncoder().encode(value)
    #expect(try JSONDecoder().decode(JSONValue.self, from: data) == value)
    #expect(value["object"]?["a"]?["b"]?.string == "c")
    #expect(try JSONEncoder().encode(JSONValue.array([.double(.nan), .double(.infinity)])) == Data("[null,null]".utf8))
  }
}
