import Testing

@testable import Chat

@Suite("Questions that have ended")
struct EndedQuestionsTests {
  @Test("leave in the order in which they ended, once they are too many")
  func many() {
    var ended = EndedQuestions()
    #expect(ended.oldest == nil && !ended.isOverfull)
    for number in 0..<10_000 { ended.append("\(number)", bytes: 1) }
    #expect(!ended.isOverfull)
    ended.append("last", bytes: 1)
    #expect(ended.isOverfull && ended.oldest == "0")
    ended.dropOldest()
    #expect(!ended.isOverfull && ended.oldest == "1")
  }

  @Test("or too large together")
  func large() {
    var ended = EndedQuestions()
    for name in ["a", "b", "c", "d"] { ended.append(name, bytes: 16 << 20) }
    #expect(!ended.isOverfull)
    ended.append("e", bytes: 1)
    #expect(ended.isOverfull)
    ended.dropOldest()
    #expect(!ended.isOverfull && ended.oldest == "b")
    for _ in 0..<5 { ended.dropOldest() }
    #expect(ended.oldest == nil && !ended.isOverfull)
  }
}
