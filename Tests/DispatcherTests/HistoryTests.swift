import GRDB
import PoolConfiguration
import PoolCore
import QueueStore
import TestSupport
import Testing

@testable import Dispatcher

/// What is recorded of requests that ended.
@Suite(.timeLimit(.minutes(1)))
struct HistoryTests {
  private static func read(_ state: TemporaryDirectory) throws -> [PastRequest] {
    try RequestHistory.read(state.path(to: "history.sqlite"), most: 100)
  }

  /// One served after another, one that leaves the queue, one refused.
  private static func serve(in state: TemporaryDirectory, _ change: (inout Settings) -> Void = { _ in }) async throws {
    try await DispatcherRig.run(
      {
        $0.queue.requests = 1
        change(&$0)
      }, options: { $0.stateFolder = state.path }
    ) { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let first = try await rig.generate()
      _ = try await gpu0.ask(0)
      let second = try await rig.generate()
      try await rig.waitForDepth(1)
      let refused = try await rig.generate()
      #expect(try await refused.answer().status == 503)
      try await gpu0.ask(0).serve()
      #expect(try await first.answer().status == 200)
      _ = try await gpu0.ask(1)
      let leaving = try await rig.generate()
      try await rig.waitForDepth(1)
      await leaving.close()
      try await rig.waitForDepth(0)
      try await gpu0.ask(1).serve()
      #expect(try await second.answer().status == 200)
      // Not recorded: it takes no slot.
      _ = try await rig.console("/metrics")
    }
  }

  @Test func eachRequestIsRecordedWithoutWhatWasSaid() async throws {
    let state = try TemporaryDirectory()
    try await Self.serve(in: state)
    let past = try Self.read(state)
    #expect(past.map(\.outcome) == [.served, .served, .refused, .cancelled])
    #expect(past.map { $0.wait != nil } == [true, true, false, false])
    #expect(past.map { $0.service != nil } == [true, true, false, false])
    #expect(past.allSatisfy { $0.className == "standard" && $0.priority == 1 && $0.user == past[0].user })
    #expect(abs(past[0].arrivedAt.milliseconds - WallTime.now.milliseconds) < 60_000)
    #expect(past.allSatisfy { $0.inputTokens > 0 || $0.outcome == .refused })
    // The next life goes on with it.
    try await Self.serve(in: state)
    #expect(try Self.read(state).count == 8)
  }

  @Test func nothingIsRecordedWhereNothingIsToBe() async throws {
    let state = try TemporaryDirectory()
    try await Self.serve(in: state)
    try await Self.serve(in: state) { $0.history.requests = 0 }
    #expect(try Self.read(state).count <= 4)
  }

  @Test func whatTheDiskIsTooSlowForIsCountedAndToldOnce() {
    var keeping = HistoryKeeping()
    let request = PastRequest(
      arrivedAt: .now, className: "", priority: 0, model: nil, user: 0, inputTokens: 1, outputTokens: 1, wait: nil,
      service: nil, outcome: .served)
    for _ in 0..<HistoryKeeping.most + 3 { keeping.keep(request) }
    #expect(keeping.lost == 3)
    #expect(keeping.takePending().count == HistoryKeeping.most)
    #expect(keeping.takeLoss()?.contains("lacks 3 requests") == true)
    #expect(keeping.takeLoss() == nil && keeping.lost == 3)
  }

  @Test func whatCannotBeWrittenIsCountedAndTold() async throws {
    let state = try TemporaryDirectory()
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let database = try DatabaseQueue(path: state.path(to: "history.sqlite"))
      try await database.write { try $0.execute(sql: "DROP TABLE request") }
      let client = try await rig.generate()
      try await gpu0.ask(0).serve()
      #expect(try await client.answer().status == 200)
      try await eventually("it is told") { rig.journalText.contains("recording requests") }
      #expect(try await rig.console("/metrics").text.contains("ollama_pool_history_lost_total 1"))
    }
  }

  @Test func aHistoryThatCannotBeKeptStopsNobody() async throws {
    let state = try TemporaryDirectory()
    try state.write("no database at all, and longer than a header of one would be", to: "history.sqlite")
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let client = try await rig.generate()
      try await gpu0.ask(0).serve()
      #expect(try await client.answer().status == 200)
      #expect(rig.journalText.contains("history.sqlite"))
    }
  }
}
