import Dispatch
import PoolCore
import Synchronization
import TestSupport
import Testing

@testable import Launching

@Suite struct PatienceTests {
  private let patience = Patience()
  private let gate = DispatchSemaphore(value: 0)

  /// Asks what does not answer before the gate opens.
  private func hang(about subject: String) async {
    let answer: Void? = await patience.answer(about: subject, within: .milliseconds(20)) { [gate] in gate.wait() }
    #expect(answer == nil)
  }

  /// Whether it was answered within a time that no working test reaches.
  private func isAnswered(_ subject: String) async -> Bool {
    await patience.answer(about: subject, within: .seconds(60)) { true } ?? false
  }

  @Test func `what hangs costs one thread and nothing else, and is asked again when it is back`() async throws {
    await hang(about: "a dead server")
    // At once, and without a look.
    for _ in 1...100 { #expect(await !isAnswered("a dead server")) }
    #expect(await isAnswered("a living one"))
    gate.signal()
    try await eventually("it is asked again") { await isAnswered("a dead server") }
  }

  @Test func `no more than eight things hang at a time`() async throws {
    for number in 1...8 { await hang(about: "server \(number)") }
    #expect(await !isAnswered("another"))
    gate.signal()
    try await eventually("there is room") { await isAnswered("another") }
    for _ in 2...8 { gate.signal() }
  }

  @Test func `who waits for a slow answer to others has all of the time for the own`() async {
    let answers = await withTaskGroup { group in
      for number in 1...8 {
        group.addTask { [patience] in
          await patience.answer(about: "a slow server", within: .milliseconds(600)) {
            let slow = DispatchSemaphore(value: 0)
            _ = slow.wait(timeout: .now() + 0.1)
            return number
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(answers.compactMap(\.self).sorted() == Array(1...8))
  }

  @Test func `who waits behind what hangs is told so with it, and never looks`() async throws {
    let asked = Mutex(0)
    let isAsked = DispatchSemaphore(value: 0)
    async let first: Void? = patience.answer(about: "x", within: .milliseconds(200)) { [gate] in
      isAsked.signal()
      gate.wait()
    }
    await withCheckedContinuation { continuation in
      DispatchQueue.global().async {
        isAsked.wait()
        continuation.resume()
      }
    }
    let second: Void? = await patience.answer(about: "x", within: .seconds(60)) { asked.withLock { $0 += 1 } }
    #expect(second == nil)
    #expect(await first == nil)
    gate.signal()
    try await eventually("it is asked again") { await isAnswered("x") }
    #expect(asked.withLock(\.self) == 0)
  }
}
