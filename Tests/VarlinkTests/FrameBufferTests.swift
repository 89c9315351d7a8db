import FoundationEssentials
import NIOCore
import Testing

@testable import Varlink

@Suite("Frames: bytes become messages")
struct FrameBufferTests {
  private func messages(_ chunks: [[UInt8]], limit: Int = 100) throws -> [String] {
    var frames = FrameBuffer(maximumMessageBytes: limit)
    var found: [String] = []
    for chunk in chunks {
      frames.append(ByteBuffer(bytes: chunk))
      while let message = try frames.next() { found.append(String(decoding: message, as: UTF8.self)) }
    }
    return found
  }

  @Test("a message split at any byte comes out whole", arguments: 0...9)
  func split(position: Int) throws {
    let bytes = Array("abcd\0efgh\0".utf8)
    #expect(try messages([Array(bytes[..<position]), Array(bytes[position...])]) == ["abcd", "efgh"])
  }

  @Test("bytes that come one by one become the same messages")
  func oneByOne() throws {
    #expect(try messages("a\0\0bcd\0".utf8.map { [$0] }) == ["a", "", "bcd"])
  }

  @Test("many messages in one read come out in order")
  func many() throws {
    let texts = (0..<5_000).map { "message \($0)" }
    #expect(try messages([Array((texts.joined(separator: "\0") + "\0").utf8)]) == texts)
  }

  @Test("a message of just the limit passes, one byte more does not, with or without its end")
  func limit() throws {
    let longest = [UInt8](repeating: 97, count: 100)
    #expect(try messages([longest + [0]]) == [String(repeating: "a", count: 100)])
    #expect(throws: VarlinkError.self) { try messages([longest + [97]]) }
    #expect(throws: VarlinkError.self) { try messages([longest + [97, 0]]) }
    #expect(throws: VarlinkError.self) { try messages([longest, [97]]) }
  }

  @Test("messages before one that is too long still come out")
  func beforeOverlong() throws {
    var frames = FrameBuffer(maximumMessageBytes: 4)
    frames.append(ByteBuffer(string: "ok\0far too long\0ok\0"))
    #expect(try frames.next() == Data("ok".utf8))
    #expect(throws: VarlinkError.self) { try frames.next() }
    #expect(throws: VarlinkError.self) { try frames.next() }
    #expect(frames.isFull)
  }

  @Test("it is full only while a whole message waits, so that a long one always gets its rest")
  func full() throws {
    var frames = FrameBuffer(maximumMessageBytes: 1 << 20)
    frames.append(ByteBuffer(repeating: 97, count: 200_000))
    #expect(!frames.isFull)
    frames.append(ByteBuffer(repeating: 0, count: 1))
    #expect(frames.isFull)
    #expect(try frames.next()?.count == 200_000)
    #expect(!frames.isFull)
    #expect(frames.isEmpty)
  }
}
