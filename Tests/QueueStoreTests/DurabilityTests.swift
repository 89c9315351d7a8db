import Dispatch
import GRDB
import Glibc
import NIOCore
import Simulation
import TestSupport
import Testing

@testable import QueueStore

/// What was confirmed outlives a `kill -9` at any moment, and nothing is there before which something is missing.
struct DurabilityTests {
  /// An endless list of calls, the same in every process: requests come, begin to run, and end.
  struct Calls {
    /// The state after some of them, in the order of service.
    private(set) var requests: [StoredRequest] = []
    private(set) var count = 0
    private var lastPlace: Int64 = 0
    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    enum Call {
      case add(StoredRequest)
      case run(String, attempts: Int)
      case delete(String)
    }

    mutating func next() -> Call {
      count += 1
      let choice = Int.random(in: 0..<10, using: &generator)
      guard choice < 5, let index = requests.indices.randomElement(using: &generator) else {
        lastPlace += 1
        let length = Int.random(in: 0..<6000, using: &generator)
        let request = StoredRequest.sample(lastPlace, message: String(repeating: "m", count: length))
        requests.append(request)
        return .add(request)
      }
      if choice < 3 { return .delete(requests.remove(at: index).id) }
      requests[index].state = .running
      requests[index].attempts += 1
      return .run(requests[index].id, attempts: requests[index].attempts)
    }

    /// As a store reads it.
    var inOrderOfService: [StoredRequest] {
      requests.filter { $0.state == .running } + requests.filter { $0.state == .waiting }
    }
  }

  /// Goes on after the first `done` calls, up to 64 at a time, until it is killed: some time after one of the calls, or
  /// after it began to open the store. For each call that is confirmed a byte goes into a file.
  private static func work(
    _ path: String, seed: UInt64, done: Int, killedAfter calls: Int, and delay: Duration
  ) async throws {
    var list = Calls(seed: seed)
    for _ in 0..<done { _ = list.next() }
    let confirmations = open(path + ".confirmed", O_WRONLY | O_CREAT | O_APPEND, 0o600)
    try #require(confirmations >= 0)
    func getKilled() {
      DispatchQueue(label: "killer").asyncAfter(deadline: .now() + delay / .seconds(1)) { kill(getpid(), SIGKILL) }
    }
    if calls == 0 { getKilled() }
    let store = try await QueueStore.open(path, on: StoreFixture.eventLoop).get()
    var asked: [EventLoopFuture<Void>] = []
    while true {
      let call =
        switch list.next() {
        case .add(let request): store.add(request)
        case .run(let id, let attempts): store.setRequest(id, state: .running, attempts: attempts)
        case .delete(let id): store.deleteRequest(id)
        }
      call.whenSuccess { _ in _ = write(confirmations, ".", 1) }
      if list.count == done + calls { getKilled() }
      asked.append(call)
      if asked.count == 64 { try await asked.removeFirst().get() }
    }
  }

  @Test(arguments: [1, 2] as [UInt64])
  func `calls that were confirmed are there, and all before the last that is`(seed: UInt64) async throws {
    let fixture = try StoreFixture()
    let path = fixture.path
    var generator = SeededGenerator(seed: seed)
    var done = 0
    var progress: [Int] = []
    for round in 0..<10 {
      // Every fifth time while the store is being opened.
      let calls = round % 5 == 0 ? 0 : Int.random(in: 1..<400, using: &generator)
      let delay = Duration.microseconds(Int.random(in: 0..<5000, using: &generator))
      unlink(path + ".confirmed")
      await #expect(processExitsWith: .signal(SIGKILL)) {
        [
          path = path as String, seed = seed as UInt64, done = done as Int, calls = calls as Int,
          delay = delay as Duration
        ]
        in
        try await Self.work(path, seed: seed, done: done, killedAfter: calls, and: delay)
      }
      let confirmed = done + ((try? fixture.size(of: "pool.sqlite.confirmed")) ?? 0)
      let store = try await fixture.open()
      let stored = try await store.state.requests
      try await store.close().get()
      var list = Calls(seed: seed)
      while list.count < confirmed { _ = list.next() }
      // At most what was under way when it was killed.
      while list.inOrderOfService != stored && list.count < confirmed + 64 { _ = list.next() }
      let isThere = list.inOrderOfService == stored
      try #require(isThere, "seed \(seed): of \(confirmed) confirmed calls, \(done) before, not all are there")
      progress.append(list.count - done)
      done = list.count
    }
    print("seed \(seed): calls that were carried out before each kill: \(progress)")
    #expect(done > 0)
    #expect(try fixture.directly { try String.fetchAll($0, sql: "PRAGMA integrity_check") } == ["ok"])
  }
}
