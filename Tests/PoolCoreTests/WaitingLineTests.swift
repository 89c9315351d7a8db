import PoolCore
import Testing

@Suite struct WaitingLineTests {
  /// The line against the plainest model there is: an array in the order of arrival.
  @Test(arguments: [1, 2, 3, 5, 8] as [UInt64])
  func agreesWithAnArrayUnderRandomOperations(seed: UInt64) {
    var random = Numbers(seed: seed)
    var line = WaitingLine()
    var model: [(id: RequestID, waits: Bool)] = []
    var next: UInt64 = 1
    for _ in 0..<4_000 {
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<4:
        line.append(RequestID(next))
        model.append((RequestID(next), true))
        next += 1
      case 4..<6 where !model.isEmpty:
        let index = Int.random(in: 0..<model.count, using: &random)
        line.callUp(model[index].id)
        model[index].waits = false
      case 6 where !model.isEmpty:
        let index = Int.random(in: 0..<model.count, using: &random)
        line.putBack(model[index].id)
        model[index].waits = true
      case 7..<10 where !model.isEmpty:
        let index = Int.random(in: 0..<min(model.count, 5), using: &random)
        line.remove(model[index].id)
        model.remove(at: index)
      default: break
      }
      let waiting = model.filter(\.waits).map(\.id)
      #expect(line.count == waiting.count)
      #expect(line.first == waiting.first)
      if let somebody = waiting.randomElement(using: &random) {
        #expect(line[waiting.firstIndex(of: somebody) ?? -1] == somebody)
      }
    }
    #expect(line.waiting == model.filter(\.waits).map(\.id))
  }

  @Test func whoIsPutBackStandsBeforeAllWhoCameLater() {
    var line = WaitingLine()
    for number: UInt64 in 1...3 { line.append(RequestID(number)) }
    line.callUp(RequestID(1))
    line.append(RequestID(4))
    line.putBack(RequestID(1))
    #expect(line.waiting.map(\.number) == [1, 2, 3, 4])
  }

  @Test func unknownRequestsChangeNothing() {
    var line = WaitingLine()
    line.callUp(RequestID(1))
    line.putBack(RequestID(1))
    line.remove(RequestID(1))
    #expect(line.isEmpty)
    #expect(line[0] == nil)
  }
}

/// A seeded source of numbers (xorshift64*), so that a failure can be repeated.
struct Numbers: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed | 1 }
  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_F491_4F6C_DD1D
  }
}
