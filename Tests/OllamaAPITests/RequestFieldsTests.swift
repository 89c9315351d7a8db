import Foundation
import Testing

import OllamaAPI

@Suite struct RequestFieldsTests {
  @Test(
    arguments: [
      (#"{"model":"llama3.2","stream":false}"#, "llama3.2", false),
      (#" {"messages":[{"model":"no","stream":true}],"model":"yes"} "#, "yes", nil),
      (#"{"model":"a","model":"b"}"#, "b", nil),
      (#"{"MODEL":"a","Stream":true}"#, "a", true),
      (#"{"\u006dodel":"a","ſtream":false}"#, "a", false),
      (#"{"\u017ftream":true}"#, nil, true),
      (#"{"model":"a\"\\\/\n\u00e9\ud83d\ude00"}"#, "a\"\\/\né😀", nil),
      (#"{"model":"\ud83d"}"#, "\u{FFFD}", nil),
      (#"{"model":"\ud83dx\ud83d\u0041"}"#, "\u{FFFD}x\u{FFFD}A", nil),
      (#"{"model":"a","model":null,"stream":true,"stream":null}"#, "a", nil),
      (#"{"model":5,"stream":"true"}"#, nil, nil),
      (#"{"stream":true,"stream":false}"#, nil, false),
      (#"{}"#, nil, nil),
      (#"{"xmodel":"a","modelx":"b","":"c"}"#, nil, nil),
      (#"{"model":""}"#, "", nil),
      (#"{"a":1.5e-3,"b":[1,2,{"c":"]}"}],"model":"m"}trailing"#, "m", nil),
    ] as [(String, String?, Bool?)])
  func `model and stream are found as Go finds them`(body: String, model: String?, stream: Bool?) throws {
    let fields = try #require(try RequestFields.scan(Array(body.utf8)))
    #expect(fields.model == model)
    #expect(fields.stream == stream)
  }

  @Test func `a model that is too long for a name is not copied`() throws {
    let longest = String(repeating: "m", count: 4094)
    #expect(try RequestFields.scan(Array(#"{"model":"\#(longest)"}"#.utf8))?.model == longest)
    #expect(try RequestFields.scan(Array(#"{"model":"a","model":"\#(longest)m","stream":true}"#.utf8))?.model == nil)
  }

  @Test(arguments: [
    "", "[]", "null", "\"model\"", "x", "{model:1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "(\u{B5}/\u{FD}",
  ])
  func `what is no JSON object gives nothing`(body: String) throws {
    #expect(try RequestFields.scan(Array(body.utf8)) == nil)
  }

  @Test func `a body cut anywhere is never wrong`() throws {
    let body = Array(#"{"model":"m","stream":true,"options":{"a":[1,"\""]}}"#.utf8)
    for length in 1..<body.count {
      let fields = try #require(try RequestFields.scan(body[..<length]), "\(length) bytes")
      #expect(fields.model == nil || fields.model == "m")
      #expect(fields.stream == nil || fields.stream == true)
    }
  }

  @Test func `depth is bounded, as in Go`() throws {
    func nested(_ depth: Int) -> [UInt8] {
      Array(
        (#"{"model":"m","a":"# + String(repeating: "[", count: depth) + String(repeating: "]", count: depth) + "}").utf8
      )
    }
    #expect(try RequestFields.scan(nested(9_000))?.model == "m")
    #expect(try RequestFields.scan(nested(10_001)) == nil)
  }

  private struct Reference: Decodable {
    let model: String?
    let stream: Bool?
  }

  @Test(arguments: 0..<40) func `agrees with a full decoder on random JSON`(seed: UInt64) throws {
    var json = RandomJSON(random: SeededGenerator(seed: seed))
    for _ in 0..<100 {
      var members = (0..<Int.random(in: 0...4, using: &json.random)).map { _ in (json.string(), json.value()) }
        .filter { !["model", "stream"].contains($0.0.lowercased().dropFirst().dropLast()) }
      if Bool.random(using: &json.random) { members.append(("\"model\"", json.string())) }
      if Bool.random(using: &json.random) { members.append(("\"stream\"", json.value().isEmpty ? "" : "true")) }
      members.shuffle(using: &json.random)
      let text = json.object(members)
      let expected = try JSONDecoder().decode(Reference.self, from: Data(text.utf8))
      let fields = try #require(try RequestFields.scan(Array(text.utf8)), "\(text)")
      #expect(fields.model == expected.model, "seed \(seed): \(text)")
      #expect(fields.stream == expected.stream, "seed \(seed): \(text)")
    }
  }

  @Test(arguments: 0..<20) func `random and damaged bytes never crash it`(seed: UInt64) {
    var json = RandomJSON(random: SeededGenerator(seed: seed))
    for _ in 0..<200 {
      var bytes = Array(json.object([("\"model\"", json.string()), (json.string(), json.value())]).utf8)
      for _ in 0..<Int.random(in: 1...4, using: &json.random) {
        let index = Int.random(in: bytes.indices, using: &json.random)
        switch Int.random(in: 0...2, using: &json.random) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &json.random)
        case 1: bytes.insert("{}[]\",:\\".utf8.randomElement(using: &json.random) ?? 0, at: index)
        default: bytes.removeSubrange(index...)
        }
        if bytes.isEmpty { break }
      }
      _ = try? RequestFields.scan(bytes)
      _ = ErrorBody.message(in: bytes)
      _ = ProcessList.merge([bytes])
      var end = StreamEnd(.generation)
      end.consume(bytes + [10])
    }
  }

  @Test func `an image of 60 MB costs milliseconds`() throws {
    let body = Array(#"{"images":[""#.utf8) + [UInt8](repeating: 65, count: 60 << 20) + Array(#""],"model":"m"}"#.utf8)
    let clock = ContinuousClock()
    var fields: RequestFields?
    let elapsed = try clock.measure { fields = try RequestFields.scan(body) }
    #expect(fields?.model == "m")
    // A decoder needs hundreds of milliseconds; memchr needs under ten, and a busy machine some more.
    #expect(elapsed < .milliseconds(500))
  }

  private static func object(members: Int) -> [UInt8] {
    Array(("{" + String(repeating: #""aaaaaaa":1,"#, count: members - 1) + #""model":"m"}"#).utf8)
  }

  @Test func `an object of more members than any request has is given up`() throws {
    let most = RequestFields.mostMembers
    #expect(try RequestFields.scan(Self.object(members: most))?.model == "m")
    #expect(throws: RequestFields.TooManyMembers.self) { try RequestFields.scan(Self.object(members: most + 1)) }
  }

  @Test func `millions of members cost no more than those that are read`() throws {
    let body = Self.object(members: 2_000_000)
    let elapsed = ContinuousClock().measure {
      _ = #expect(throws: RequestFields.TooManyMembers.self) {
        try body.withUnsafeBytes { bytes in try RequestFields.scan(bytes) }
      }
    }
    // To read them all takes seconds where nothing is optimised.
    #expect(elapsed < .milliseconds(500))
  }

  @Test(arguments: [0, 1, 14, 15, 16, 17, 18, 31, 33, 100])
  func `a string ends at its quote, however far that is and whatever is escaped`(length: Int) throws {
    for backslashes in 0...5 {
      for before in [length, max(0, length - backslashes)] {
        // After an odd number the first quote is escaped, and the next one is the end.
        let string =
          "\"" + String(repeating: "x", count: before) + String(repeating: "\\", count: backslashes)
          + (backslashes.isMultiple(of: 2) ? "\"" : "\"\"")
        let text = #"{"a":\#(string),"b":[\#(string)],"model":"m"}"#
        #expect(try RequestFields.scan(Array(text.utf8))?.model == "m", "\(text)")
      }
    }
  }
}
