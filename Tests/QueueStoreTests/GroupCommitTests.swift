import Dispatch
import GRDB
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import QueueStore

/// Calls that come together: one transaction, their order, and each with an end of its own.
struct GroupCommitTests {
  /// Holds the store's thread, so that what is asked for meanwhile comes together.
  private struct Gate {
    private let passed: EventLoopFuture<Void>
    private let semaphore = DispatchSemaphore(value: 0)

    init(_ store: QueueStore) async throws {
      let held = StoreFixture.eventLoop.makePromise(of: Void.self)
      passed = store.call("waiting") { [semaphore] _ in
        held.succeed()
        semaphore.wait()
      }
      try await held.futureResult.get()
    }

    func open() async throws {
      semaphore.signal()
      try await passed.get()
    }
  }

  @Test func `what comes while a transaction is under way goes into the next one, in its order`() {
    var pending = PendingCalls()
    let call = StoreCall(perform: { _ in {} }, failed: { _ in {} })
    #expect(pending.take().count == 0)
    #expect(pending.add(call) == true)
    #expect(pending.take().count == 1)
    #expect([pending.add(call), pending.add(call)] == [false, false])
    #expect(pending.touch("a", at: 1) == true)
    #expect(pending.touch("b", at: 2) == false)
    #expect(pending.touch("a", at: 3) == false)
    #expect(pending.flush() == false)
    #expect(pending.add(call) == false)
    #expect(pending.touch("a", at: 4) == true)
    // Two calls, two touches in one, a call, a touch.
    #expect(pending.take().count == 5)
    #expect(pending.take().count == 0)
    #expect(pending.touch("a", at: 5) == true)
    #expect(pending.flush() == true)
    #expect(pending.take().count == 1)
    #expect(pending.flush() == false)
  }

  @Test func `calls from several tasks keep each task's order, on disk and in their answers`() async throws {
    let store = try await StoreFixture().open(QueueStoreLimits(messagesPerSession: 1000))
    _ = try await store.add(.sample("s")).get()
    let answered = Answers()
    try await withThrowingTaskGroup { group in
      for task in 0..<4 {
        group.addTask {
          let futures = (0..<100).map { number in
            let name = "\(task) \(number)"
            let message = StoredMessage(session: "s", role: .user, content: name, at: 1)
            return store.append(message).always { _ in answered.add(name) }
          }
          for future in futures { try await future.get() }
        }
      }
      try await group.waitForAll()
    }
    let stored = try await store.history(of: "s", last: .max, bytes: .max).get().map(\.content)
    #expect(answered.names == stored)
    for task in 0..<4 {
      #expect(stored.filter { $0.hasPrefix("\(task) ") } == (0..<100).map { "\(task) \($0)" })
    }
    try await store.close().get()
  }

  @Test func `a call that fails takes none of those beside it along`() async throws {
    let fixture = try StoreFixture()
    let answered = Answers()
    let state = try await fixture.reopened { store in
      let gate = try await Gate(store)
      let calls = [1, 2, 1, 3, 3, 4].enumerated().map { number, place in
        store.add(.sample(place)).always { result in
          answered.add("\(number) \((try? result.get()) == nil ? "failed" : "done")")
        }
      }
      // Half of it is done when it fails.
      let usage = (0..<2).map { StoredUsage(user: "u", minute: Int64($0), requests: 1, tokens: 1) }
      let half: EventLoopFuture<Void> = store.call("failing half-way") { database in
        for usage in usage { try database.change("INSERT INTO usage VALUES (?, ?, 1, 1)", usage.user, usage.minute) }
        throw QueueStoreError(.missing, "as intended")
      }
      let last = store.add(.sample(5))
      try await gate.open()
      #expect(try await failure { try await half.get() }?.message == "as intended")
      try await last.get()
      #expect(try await failure { try await calls[2].get() }?.code == .conflict)
    }
    #expect(answered.names == ["0 done", "1 done", "2 failed", "3 done", "4 failed", "5 done"])
    #expect(state.requests.map(\.place) == [1, 2, 3, 4, 5])
    #expect(state.usage == [])
  }

  @Test func `where a transaction fails as a whole, its calls are tried one by one`() async throws {
    let fixture = try StoreFixture()
    let state = try await fixture.reopened { store in
      let gate = try await Gate(store)
      let first = store.add(.sample(1))
      let giveUp: EventLoopFuture<Void> = store.call("giving up") { database in
        try database.execute(sql: "ROLLBACK")
        throw DatabaseError(resultCode: .SQLITE_FULL, message: "as intended")
      }
      let last = store.add(.sample(2))
      try await gate.open()
      try await first.get()
      #expect(try await failure { try await giveUp.get() }?.code == .full)
      try await last.get()
    }
    #expect(state.requests.map(\.place) == [1, 2])
  }

  @Test func `more calls than may wait are refused, and the rest is done`() async throws {
    let store = try await QueueStore.inMemory(QueueStoreLimits(pending: 3))
    let gate = try await Gate(store)
    let calls = (1...5).map { store.add(.sample($0)) }
    let refused = try await failure { try await calls[3].get() }
    #expect(refused?.code == .overloaded && refused?.message.contains("3 calls wait") == true)
    try await gate.open()
    for call in calls[..<3] { try await call.get() }
    #expect(try await store.state.requests.map(\.place) == [1, 2, 3])
    try await store.close().get()
  }

  @Test func `closing waits for what was asked for, and refuses what comes later`() async throws {
    let fixture = try StoreFixture()
    let store = try await fixture.open()
    _ = try await store.add(.sample("s")).get()
    let calls = (0..<1000).map { store.add(.sample($0)) }
    store.touchSession("s", at: 7000)
    let closing = store.close()
    let late = store.add(.sample(1000))
    store.touchSession("s", at: 9000)
    try await closing.get()
    for call in calls { try await call.get() }
    #expect(try await failure { try await late.get() }?.code == .closed)
    try await store.close().get()
    let again = try await fixture.open()
    let state = try await again.state
    #expect(state.requests.count == 1000)
    #expect(state.sessions.map(\.lastUsedAt) == [7000])
    try await again.close().get()
  }

  @Test func `ten thousand requests are stored and read`() async throws {
    let fixture = try StoreFixture()
    let store = try await fixture.open()
    let clock = ContinuousClock()
    let message = String(repeating: "Perché? ", count: 64)
    let stored = try await clock.measure {
      let calls = (0..<10_000).map { store.add(.sample($0, session: "s\($0 % 1000)", message: message)) }
      try await EventLoopFuture.andAllSucceed(calls, on: StoreFixture.eventLoop).get()
    }
    let closed = try await clock.measure { try await store.close().get() }
    var again = store
    let opened = try await clock.measure { again = try await fixture.open() }
    var state = try await again.load(usageSince: .max).get()
    let read = try await clock.measure { state = try await again.load(usageSince: 0).get() }
    #expect(state.requests.map(\.place) == Array(0..<10_000))
    #expect(state.requests.last?.message == message)
    print(
      "10,000 requests: stored in \(stored), closed in \(closed), opened in \(opened), read in \(read),",
      "\(try fixture.size(of: "pool.sqlite")) bytes")
    try await again.close().get()
  }
}

private final class Answers: Sendable {
  private let all = Mutex<[String]>([])
  var names: [String] { all.withLock { $0 } }
  func add(_ name: String) { all.withLock { $0.append(name) } }
}
