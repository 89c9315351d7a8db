import NIOCore
import NIOEmbedded
import Synchronization
import TestSupport
import Testing

@testable import QueueStore

/// Sessions and their history: what is kept, what goes, and when.
struct SessionTests {
  private static func message(_ number: Int, _ content: String = "x", of session: String = "s") -> StoredMessage {
    StoredMessage(
      session: session, role: number.isMultiple(of: 2) ? .user : .assistant, content: content,
      at: WallTime(milliseconds: Int64(number)))
  }

  @Test func `those not used for longest go first, apart from those with a request`() async throws {
    let store = try await QueueStore.inMemory(QueueStoreLimits(sessions: 3))
    for (id, time) in [("a", 10), ("b", 30), ("c", 20)] as [(String, WallTime)] {
      #expect(try await store.add(.sample(id, usedAt: time)).get() == [])
    }
    #expect(try await failure { _ = try await store.add(.sample("a")).get() }?.code == .conflict)
    for id in ["a", "b", "c"] { try await store.append(Self.message(1, of: id)).get() }
    try await store.add(.sample(1, session: "a", message: "asked")).get()
    // A new one is never the one that goes, however old its time.
    #expect(try await store.add(.sample("d", usedAt: 1)).get() == ["c"])
    #expect(try await store.history(of: "c", last: 9, bytes: 99).get() == [])
    #expect(try await store.history(of: "a", last: 9, bytes: 99).get().map(\.content) == ["x", "asked"])
    try await store.append(Self.message(1, of: "d")).get()
    store.touchSession("d", at: 40)
    #expect(try await store.add(.sample("e", usedAt: 50)).get() == ["b"])
    #expect(try await store.state.sessions.map(\.id) == ["a", "d", "e"])
    try await store.deleteSession("e").get()
    try await store.deleteSession("e").get()
    #expect(try await store.add(.sample("f", usedAt: 60)).get() == [])
    try await store.close().get()
  }

  @Test func `of too many of one owner's its own go, and empty ones before others`() async throws {
    let store = try await QueueStore.inMemory(QueueStoreLimits(sessions: 5, sessionsPerOwner: 2))
    func add(_ id: String, of owner: String, at time: WallTime) async throws -> [String] {
      let gone = try await store.add(StoredSession(id: id, owner: owner, createdAt: 1, lastUsedAt: time)).get()
      return gone.sorted()
    }
    for (id, owner, time) in [("a", "anna", 1), ("b", "bruno", 2), ("c", "carla", 3), ("d", "carla", 4)]
      as [(String, String, WallTime)]
    {
      #expect(try await add(id, of: owner, at: time) == [])
      try await store.append(Self.message(0, of: id)).get()
    }
    #expect(try await add("e", of: "carla", at: 5) == ["c"], "though others' were used before")
    #expect(try await add("f", of: "carla", at: 6) == ["e"], "it is empty")
    #expect(try await add("g", of: "dora", at: 7) == [])
    #expect(try await add("h", of: "emil", at: 8) == ["f"], "of all, too")
    try await store.deleteHistory(of: "d").get()
    #expect(try await add("i", of: "fritz", at: 9) == ["d"])
    try await store.append(Self.message(0, of: "h")).get()
    #expect(try await add("j", of: "gina", at: 10) == ["g"])
    #expect(try await add("k", of: "hugo", at: 11) == ["i"])
    #expect(try await store.state.sessions.map(\.id) == ["a", "b", "h", "j", "k"])
    try await store.close().get()
  }

  @Test func `with requests in all of them there may be more for a time`() async throws {
    let store = try await QueueStore.inMemory(QueueStoreLimits(sessions: 1))
    for number in 1...3 {
      #expect(try await store.add(.sample("s\(number)")).get() == [])
      try await store.add(.sample(Int64(number), session: "s\(number)")).get()
    }
    for number in 1...3 { try await store.deleteRequest("r\(number)").get() }
    #expect(try await store.add(.sample("s4")).get().sorted() == ["s1", "s2", "s3"])
    try await store.close().get()
  }

  @Test func `expired ones go with their history, unless they have a request`() async throws {
    let store = try await QueueStore.inMemory()
    for (id, time) in [("a", 10), ("b", 20), ("c", 30), ("d", 10)] as [(String, WallTime)] {
      _ = try await store.add(.sample(id, usedAt: time)).get()
      try await store.append(Self.message(1, of: id)).get()
    }
    try await store.add(.sample(1, session: "d")).get()
    store.touchSession("a", at: 25)
    #expect(try await store.deleteSessions(lastUsedBefore: 25).get() == ["b"])
    #expect(try await store.history(of: "b", last: 9, bytes: 99).get() == [])
    #expect(try await store.state.sessions.map(\.id) == ["d", "a", "c"])
    try await store.close().get()
  }

  @Test func `the use of a session is written down with what comes next, and never goes back`() async throws {
    let fixture = try StoreFixture()
    let state = try await fixture.reopened { store in
      _ = try await store.add(.sample("a", usedAt: 10)).get()
      for time in [5, 30, 20] as [WallTime] { store.touchSession("a", at: time) }
      store.touchSession("gone", at: 9)
    }
    #expect(state.sessions == [.sample("a", usedAt: 30)])
  }

  @Test func `the use of a session waits ten seconds where nothing else comes`() async throws {
    let fixture = try StoreFixture()
    let loop = NIOAsyncTestingEventLoop()
    let store = try await loop.value(QueueStore.open(fixture.path, on: loop))
    _ = try await loop.value(store.add(.sample("a", usedAt: 10)))
    let written = try fixture.size(of: "pool.sqlite-wal")
    store.touchSession("a", at: 20)
    await loop.advanceTime(by: .milliseconds(9_900))
    store.touchSession("a", at: 30)
    #expect(try fixture.size(of: "pool.sqlite-wal") == written)
    await loop.advanceTime(by: .milliseconds(100))
    try await eventually("the log grows") { try fixture.size(of: "pool.sqlite-wal") > written }
    #expect(try await loop.value(store.load(usageSince: 0)).sessions == [.sample("a", usedAt: 30)])
    try await loop.value(store.close())
    await loop.shutdownGracefully()
  }

  @Test func `a history keeps its newest messages within both bounds`() async throws {
    let store = try await QueueStore.inMemory(QueueStoreLimits(messagesPerSession: 4, bytesPerSession: 10))
    _ = try await store.add(.sample("s")).get()
    _ = try await store.add(.sample("t")).get()
    try await store.append(Self.message(0, "other", of: "t")).get()
    func kept() async throws -> [String] {
      try await store.history(of: "s", last: .max, bytes: .max).get().map(\.content)
    }
    for number in 0..<6 { try await store.append(Self.message(number, "\(number)")).get() }
    #expect(try await kept() == ["2", "3", "4", "5"])
    try await store.append(Self.message(6, "6666666")).get()
    #expect(try await kept() == ["3", "4", "5", "6666666"])
    try await store.append(Self.message(7, "77")).get()
    #expect(try await kept() == ["5", "6666666", "77"])
    // Characters count as their bytes, and so do sources.
    try await store.append(Self.message(8, "èèè")).get()
    #expect(try await kept() == ["77", "èèè"])
    var sourced = Self.message(9, "9")
    sourced.sources = "[{}]"
    try await store.append(sourced).get()
    #expect(try await kept() == ["9"])
    try await store.append(Self.message(10, "more than ten bytes")).get()
    #expect(try await kept() == ["more th…"])
    #expect(try await store.history(of: "t", last: 1, bytes: 5).get().map(\.content) == ["other"])
    try await store.close().get()
  }

  @Test func `what is too long is cut, and leaves the rest of the conversation`() async throws {
    let limits = QueueStoreLimits(bytesPerSession: 40, bytesPerMessage: 10)
    let store = try await QueueStore.inMemory(limits)
    _ = try await store.add(.sample("s")).get()
    var long = Self.message(1, "èèèèèè")
    long.sources = "[1]"
    for message in [Self.message(0, "first"), long, Self.message(2, String(repeating: "x", count: 1 << 20))] {
      try await store.append(message).get()
    }
    long.sources = "[1, 2, 3]"
    long.content = "short"
    try await store.append(long).get()
    let kept = try await store.history(of: "s", last: 9, bytes: .max).get()
    #expect(kept.map(\.content) == ["first", "èè…", "xxxxxxx…", "short"])
    #expect(kept.map(\.sources) == [nil, "[1]", nil, nil])
    try await store.close().get()
  }

  @Test func `an answer whose question was deleted is not kept`() async throws {
    let store = try await QueueStore.inMemory()
    _ = try await store.add(.sample("s")).get()
    func message(_ role: StoredMessage.Role, _ request: String) -> StoredMessage {
      StoredMessage(session: "s", role: role, content: request, requestID: request, at: 1)
    }
    try await store.append(message(.user, "a")).get()
    try await store.deleteHistory(of: "s").get()
    try await store.append(message(.user, "b")).get()
    for request in ["a", "b"] { try await store.append(message(.assistant, request)).get() }
    let kept = try await store.history(of: "s", last: 9, bytes: 99).get()
    #expect(kept == [message(.user, "b"), message(.assistant, "b")])
    try await store.close().get()
  }

  @Test func `what is read is the end of a history, oldest first`() async throws {
    let store = try await QueueStore.inMemory()
    _ = try await store.add(.sample("s")).get()
    let messages = (0..<5).map { Self.message($0, String(repeating: "m", count: $0 + 1)) }
    for message in messages { try await store.append(message).get() }
    func read(_ count: Int, _ bytes: Int) async throws -> [StoredMessage] {
      try await store.history(of: "s", last: count, bytes: bytes).get()
    }
    #expect(try await read(9, 99) == messages)
    #expect(try await read(2, 99) == Array(messages[3...]))
    #expect(try await read(9, 12) == Array(messages[2...]))
    #expect(try await read(9, 11) == Array(messages[3...]))
    #expect(try await read(9, 4) == [])
    #expect(try await read(0, 99) == [])
    #expect(try await store.history(of: "unknown", last: 9, bytes: 99).get() == [])
    try await store.deleteHistory(of: "s").get()
    #expect(try await read(9, 99) == [])
    #expect(try await store.state.sessions.map(\.id) == ["s"])
    try await store.close().get()
  }

  @Test func `nothing is added to a session that is gone`() async throws {
    let store = try await QueueStore.inMemory()
    let error = try await failure { try await store.append(Self.message(0, "a secret")).get() }
    #expect(error?.code == .missing)
    #expect(error.map { !"\($0)".contains("secret") } == true)
    try await store.close().get()
  }
}

extension NIOAsyncTestingEventLoop {
  /// Runs what is due now until the future has its value.
  fileprivate func value<Value: Sendable>(_ future: EventLoopFuture<Value>) async throws -> Value {
    let answer = Answer<Value>()
    future.whenComplete { result in answer.result.withLock { $0 = result } }
    return try await eventualValue("the call is answered") {
      await run()
      return answer.result.withLock { $0 }
    }.get()
  }
}

private final class Answer<Value: Sendable>: Sendable {
  let result = Mutex<Result<Value, any Error>?>(nil)
}
