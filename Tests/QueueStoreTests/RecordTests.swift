import NIOCore
import PoolCore
import TestSupport
import Testing

@testable import QueueStore

/// What is stored comes back, as it was and in its order.
struct RecordTests {
  private static func key(_ name: String, hash: UInt8, at time: WallTime = 1) -> StoredKey {
    StoredKey(
      id: "k\(hash)", name: name, hash: [UInt8](repeating: hash, count: 32), role: .user, createdAt: time)
  }

  @Test func `keys come back with all that was set, and with nothing where nothing was`() async throws {
    var full = Self.key("full", hash: 255, at: 2)
    full.role = .administrator
    full.className = "enterprise"
    full.limits = UserLimits(requestsPerHour: 10, tokensPerHour: 1 << 40, concurrent: 0, waiting: 3)
    full.revokedAt = 7
    let plain = Self.key("plain", hash: 0, at: 3)
    let state = try await StoreFixture().reopened { store in
      try await store.add(plain).get()
      try await store.add(full).get()
    }
    #expect(state.keys == [full, plain])
  }

  @Test func `a name is one key's until that is revoked, a hash for ever`() async throws {
    let store = try await QueueStore.inMemory()
    try await store.add(Self.key("flask", hash: 1)).get()
    let sameName = try await failure { try await store.add(Self.key("flask", hash: 2)).get() }
    #expect(sameName?.code == .conflict && sameName?.message.contains("'flask'") == true)
    try await store.revokeKey("k1", at: 9).get()
    #expect(try await failure { try await store.revokeKey("k1", at: 10).get() }?.code == .missing)
    #expect(try await failure { try await store.revokeKey("k7", at: 10).get() }?.code == .missing)
    try await store.add(Self.key("flask", hash: 2)).get()
    #expect(try await failure { try await store.add(Self.key("other", hash: 1)).get() }?.code == .conflict)
    let short = StoredKey(id: "k9", name: "short", hash: [1], role: .user, createdAt: 1)
    #expect(try await failure { try await store.add(short).get() }?.code == .conflict)
    #expect(try await store.keys().get().map(\.revokedAt) == [9, nil])
    try await store.close().get()
  }

  @Test func `a request's message is in its session's history, and goes with it where it is withdrawn`() async throws {
    let store = try await QueueStore.inMemory()
    let session = "s"
    let began = StoredSession(id: session, owner: "anonymous", createdAt: 1, lastUsedAt: 1)
    #expect(try await store.accept(.sample(1, message: "1"), beginning: began).get() == [])
    try await store.add(.sample(2, message: "2")).get()
    // A session, a request and its message are there together or not at all.
    #expect(try await failure { _ = try await store.accept(.sample(3), beginning: began).get() }?.code == .conflict)
    let other = StoredSession(id: "t", owner: "anonymous", createdAt: 1, lastUsedAt: 1)
    let again = StoredRequest.sample(2, session: "t")
    #expect(try await failure { _ = try await store.accept(again, beginning: other).get() }?.code == .conflict)
    #expect(try await store.state.sessions.map(\.id) == [session])
    #expect(try await store.state.requests.map(\.place) == [1, 2])
    #expect(try await store.history(of: session, last: 9, bytes: 99).get().map(\.content) == ["1", "2"])

    try await store.withdrawRequest("r2", of: session).get()
    try await store.withdrawRequest("r2", of: session).get()
    try await store.withdrawRequest("r1", of: "another").get()
    #expect(try await store.load(usageSince: 0).get().requests.isEmpty)
    #expect(try await store.history(of: session, last: 9, bytes: 99).get().map(\.content) == ["1"])
    try await store.close().get()
  }

  @Test func `requests that ran come first, then those that waited, by their places`() async throws {
    var running = StoredRequest.sample(5)
    running.keyID = "k1"
    running.priority = "high"
    running.language = "it"
    running.isResumable = false
    let state = try await StoreFixture().reopened { store in
      for place in [3, 1, 2] as [Int64] { try await store.add(.sample(place)).get() }
      try await store.add(running).get()
      try await store.add(.sample(.max)).get()
      try await store.add(.sample(4)).get()
      try await store.setRequest("r5", state: .running, attempts: 1).get()
      try await store.setRequest("r4", state: .running, attempts: 2).get()
      try await store.setRequest("r3", state: .running, attempts: 1).get()
      try await store.setRequest("r3", state: .waiting, attempts: 1).get()
      try await store.deleteRequest("r2").get()
      try await store.deleteRequest("r2").get()
      #expect(
        try await failure { try await store.setRequest("r2", state: .running, attempts: 1).get() }?.code == .missing)
      #expect(try await failure { try await store.add(.sample(1)).get() }?.code == .conflict)
    }
    #expect(state.requests.map(\.place) == [4, 5, 1, 3, .max])
    #expect(state.requests.map(\.attempts) == [2, 1, 0, 1, 0])
    running.state = .running
    running.attempts = 1
    #expect(state.requests[1] == running)
    #expect(state.requests[2] == .sample(1))
  }

  @Test func `usage is what was last said of a user's minute`() async throws {
    let store = try await QueueStore.inMemory()
    let usage = (0..<5).map { StoredUsage(user: "u\($0 % 2)", minute: 100 + Int64($0), requests: $0, tokens: 1 << 40) }
    try await store.set(usage).get()
    try await store.set([StoredUsage(user: "u0", minute: 102, requests: 7, tokens: 1)]).get()
    #expect(try await store.load(usageSince: 102).get().usage.map(\.requests) == [7, 3, 4])
    try await store.deleteUsage(before: 104).get()
    #expect(try await store.state.usage == [usage[4]])
    try await store.deleteUsage(from: usage[4].minute + 1).get()
    #expect(try await store.state.usage == [usage[4]])
    try await store.deleteUsage(from: usage[4].minute).get()
    #expect(try await store.state.usage == [])
    try await store.set(usage).get()
    try await store.replaceUsage(with: [usage[1]]).get()
    #expect(try await store.state.usage == [usage[1]])
    try await store.close().get()
  }

  @Test func `texts of all kinds come back unchanged, and do nothing`() async throws {
    let requests = strangeTexts.enumerated().map { number, text in
      StoredRequest(
        id: "\(number)\(text)", place: Int64(number), session: text, user: text, className: text, keyID: text,
        priority: text, model: text, message: text, language: text, isResumable: false, arrivedAt: 1)
    }
    let sessions = strangeTexts.map { StoredSession(id: $0, owner: $0, createdAt: 1, lastUsedAt: 2) }
    let usage = strangeTexts.map { StoredUsage(user: $0, minute: 5, requests: 1, tokens: 1) }
    let keys = strangeTexts.enumerated().map { Self.key($1, hash: UInt8($0)) }
    let state = try await StoreFixture().reopened(QueueStoreLimits(bytesPerSession: 1 << 22, bytesPerMessage: 1 << 22))
    { store in
      for request in requests { try await store.add(request).get() }
      for session in sessions { _ = try await store.add(session).get() }
      for key in keys { try await store.add(key).get() }
      try await store.set(usage).get()
      for text in strangeTexts {
        let message = StoredMessage(
          session: text, role: .user, content: text, model: text, requestID: text, idempotencyKey: text, sources: text,
          at: 3)
        try await store.append(message).get()
        #expect(try await store.history(of: text, last: 9, bytes: .max).get() == [message])
      }
    }
    #expect(state.requests == requests)
    #expect(state.sessions.sorted { $0.id < $1.id } == sessions.sorted { $0.id < $1.id })
    #expect(state.keys == keys)
    #expect(Set(state.usage.map(\.user)) == Set(strangeTexts))
  }

  @Test func `a message of many megabytes comes back`() async throws {
    let fixture = try StoreFixture()
    let message = String(repeating: "🦙", count: 8 << 20)
    let state = try await fixture.reopened { try await $0.add(.sample(1, message: message)).get() }
    #expect(state.requests.map { $0.message == message } == [true])
  }

  @Test(arguments: [(0, 0), (59_999, 0), (60_000, 1), (-1, -1), (-60_000, -1), (-60_001, -2)])
  func `minutes are whole`(milliseconds: Int64, minute: Int64) {
    #expect(WallTime(milliseconds: milliseconds).minute == minute)
  }
}
