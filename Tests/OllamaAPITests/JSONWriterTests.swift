import Foundation
import Testing

import OllamaAPI

@Suite("JSON that is written piece by piece")
struct JSONWriterTests {
  @Test("numbers to both ends of their range")
  func numbers() {
    var random = SeededGenerator(seed: 4)
    var values = [0, 9, 10, 99, 100, -1, -10, .max, .min]
    for _ in 0..<1_000 {
      values.append(Int.random(in: .min ... .max, using: &random) >> Int.random(in: 0..<64, using: &random))
    }
    for value in values {
      var json = JSONWriter()
      json.raw("[")
      json.number(value)
      json.raw("]")
      #expect(String(decoding: json.bytes, as: UTF8.self) == "[\(value)]")
    }
  }

  @Test("a text comes back as it was, whatever is in it")
  func texts() throws {
    let all = String(String.UnicodeScalarView((0...0x2ff).compactMap(Unicode.Scalar.init)))
    for text in ["", "è", "😀", "\"\\\"", "\u{0}", "a\nb\r\tc", "</script>\u{2028}", all] {
      var json = JSONWriter(capacity: 10)
      json.string(text)
      #expect(json.bytes.allSatisfy { $0 >= 0x20 })
      let read = try JSONSerialization.jsonObject(with: Data(json.bytes), options: .fragmentsAllowed)
      #expect(read as? String == text)
    }
    var json = JSONWriter()
    json.string(nil)
    #expect(json.bytes == Array("null".utf8))
  }
}
