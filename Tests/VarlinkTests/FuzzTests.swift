import FoundationEssentials
import NIOCore
import TestSupport
import Testing

@testable import Varlink

@Suite("Fuzz: whatever comes in, nothing breaks")
struct FuzzTests {
  private struct Body: Codable { var text: String, numbers: [Int], flag: Bool? }

  private static let samples: [String] = [
    #"{"method":"org.example.Test.Echo","parameters":{"text":"hello","numbers":[1,2,3],"flag":true}}"#,
    #"{"method":"org.example.Test.Count","parameters":{"to":3},"more":true}"#,
    #"{"method":"org.varlink.service.GetInfo"}"#,
    #"{"parameters":{"text":"\u0000\ud83e\udd99","numbers":[],"flag":null},"continues":true}"#,
    #"{"error":"org.varlink.service.InvalidParameter","parameters":{"parameter":"a","deep":[[[{"x":-1.5e3}]]]}}"#,
  ]

  private static let splinters: [String] = [
    "\0", "{", "}", "[", "]", "\"", "\\", ",", ":", "null", "true", "1e999", "-", "\\u", "\\ud800", "[[[[[[[[",
    "{\"method\":", "\u{FEFF}", "99999999999999999999", " ",
  ]

  /// A sample with a few bytes changed, cut, doubled or put in; or plain noise.
  private func mutant(_ random: inout SeededGenerator) -> [UInt8] {
    if Int.random(in: 0..<10, using: &random) == 0 {
      return (0..<Int.random(in: 0..<200, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    }
    var bytes = Array(Self.samples.randomElement(using: &random)!.utf8) + [0]
    for _ in 0..<Int.random(in: 0...6, using: &random) where !bytes.isEmpty {
      let position = Int.random(in: 0..<bytes.count, using: &random)
      switch Int.random(in: 0..<4, using: &random) {
      case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes.removeSubrange(position..<min(bytes.count, position + Int.random(in: 1...20, using: &random)))
      case 2: bytes.insert(contentsOf: Self.splinters.randomElement(using: &random)!.utf8, at: position)
      default: bytes.insert(contentsOf: bytes[position...].prefix(30), at: position)
      }
    }
    return bytes
  }

  @Test("20,000 mutants in chunks of any size: the same messages as by splitting, and a verdict on each")
  func decoder() async throws {
    let seed: UInt64 = 0x5eed_0001
    var random = SeededGenerator(seed: seed)
    var calls = 0
    var replies = 0
    for round in 0..<20_000 {
      // Other tests wait with deadlines for a thread to run on.
      if round.isMultiple(of: 50) { await Task.yield() }
      let bytes = mutant(&random)
      var frames = FrameBuffer(maximumMessageBytes: 400)
      var found: [Data] = []
      var isOverlong = false
      var rest = bytes[...]
      while !rest.isEmpty && !isOverlong {
        let chunk = rest.prefix(Int.random(in: 1...120, using: &random))
        rest = rest.dropFirst(chunk.count)
        frames.append(ByteBuffer(bytes: chunk))
        do {
          while let message = try frames.next() { found.append(message) }
        } catch {
          isOverlong = true
        }
      }
      let expected = bytes.split(separator: 0, omittingEmptySubsequences: false)
      let whole = expected.dropLast().prefix { $0.count <= 400 }
      #expect(found == whole.map { Data($0) }, "seed \(seed), round \(round)")
      #expect(isOverlong == expected.contains { $0.count > 400 }, "seed \(seed), round \(round)")

      for message in found {
        if let head = try? VarlinkMessage.callHead(of: message) {
          calls += 1
          #expect(message.count > head.method.utf8.count)
          _ = try? VarlinkMessage.parameters(of: message, as: Body.self)
        }
        if (try? VarlinkMessage.readReply(message, as: JSONValue.self)) != nil { replies += 1 }
      }
    }
    // The mutants must not all be rubbish, or the test looks at nothing.
    #expect(calls > 1_000 && replies > 1_000)
  }

  @Test("500 connections with mutants leave the server serving, and nothing of them behind")
  func server() async throws {
    var random = SeededGenerator(seed: 0x5eed_0002)
    try await withServer { fixture in
      let witness = try await fixture.client()
      for round in 0..<500 {
        let socket = try RawSocket.connected(to: fixture.path)
        for _ in 0..<Int.random(in: 1...4, using: &random) { _ = socket.writeSome(mutant(&random)) }
        if round % 50 == 0 {
          let text = ExampleInterface.Text(text: "still here \(round)")
          let reply: ExampleInterface.Text = try await witness.call("org.example.Test.Echo", text)
          #expect(reply == text)
          // Else there may be more at once than one user may have, and those are refused.
          try await eventually(within: patience, "the connections so far are closed") {
            fixture.example.closed.count >= round
          }
        }
      }
      try await eventually(within: patience, "all but the witness's connection are closed") {
        fixture.example.closed.count == 500
      }
      let number = try await witness.call("org.example.Test.WhoAmI", as: ExampleInterface.Who.self)
      #expect(number.connection > 0)
    }
  }
}
