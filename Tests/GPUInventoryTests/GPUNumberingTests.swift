import Foundation
import Testing

@testable import GPUInventory

@Suite struct GPUNumberingTests {
  private static func numbers(_ numbering: GPUNumbering, _ uuids: [String]) -> [Int?] {
    uuids.map { numbering.number(of: $0) }
  }

  @Test("a GPU keeps its number whatever comes and goes")
  func stable() {
    var numbering = GPUNumbering()
    numbering.add(["a", "b", "c"])
    #expect(Self.numbers(numbering, ["a", "b", "c", "x"]) == [0, 1, 2, nil])
    // b breaks, and d comes into a slot before all others.
    numbering.add(["d", "a", "c"])
    #expect(Self.numbers(numbering, ["a", "b", "c", "d"]) == [0, 1, 2, 3])
    numbering.add(["b", "b", "e", "e"])
    #expect(Self.numbers(numbering, ["b", "e"]) == [1, 4])
  }

  @Test("it survives being stored")
  func stored() throws {
    var numbering = GPUNumbering()
    numbering.add(["a", "b"])
    let data = try JSONEncoder().encode(numbering)
    #expect(try JSONDecoder().decode(GPUNumbering.self, from: data) == numbering)
  }

  @Test("a gap is filled by the next new GPU")
  func gap() throws {
    var numbering = try JSONDecoder().decode(GPUNumbering.self, from: Data(#"{"a": 0, "c": 2}"#.utf8))
    numbering.add(["x", "y"])
    #expect(Self.numbers(numbering, ["x", "y"]) == [1, 3])
  }

  @Test("a store that was tampered with is refused", arguments: [#"{"a":0,"b":0}"#, #"{"a":-1}"#, "[]", #"{"a":1e9}"#])
  func corrupted(json: String) {
    #expect(throws: DecodingError.self) { try JSONDecoder().decode(GPUNumbering.self, from: Data(json.utf8)) }
  }
}
