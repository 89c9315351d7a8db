import Foundation
import PoolCore
import QueueStore
import TestSupport
import Testing

@testable import Dispatcher

/// The core's minutes and the wall clock's.
@Suite struct UsageKeepingTests {
  private static let minute: Int64 = 60_000

  @Test(arguments: [0, 1, 29_999, 30_000, 59_999] as [Int64])
  func everyMinuteHasOneRowAndComesBackAsTheSame(_ rest: Int64) {
    let keeping = UsageKeeping(
      at: WallTime(milliseconds: 1000 * Self.minute + rest), Instant(nanoseconds: 90_000_000_000))
    for minute in -70...70 {
      let entry = UsageLedger.Entry(user: "key:shop", minute: minute, requests: 2, tokens: 3)
      #expect(keeping.entry(keeping.stored(entry)) == entry)
    }
    // The present one is never ahead of the wall clock.
    let now = keeping.stored(UsageLedger.Entry(user: "", minute: 1, requests: 0, tokens: 0))
    #expect((998...1000).contains(now.minute))
  }

  @Test func afterTheClockWasSetEveryMinuteHasItsRowByTheNewTime() {
    let start = WallTime(milliseconds: 1000 * Self.minute)
    var keeping = UsageKeeping(at: start, .zero)
    let (hour, later) = (Instant.zero + .seconds(3600), WallTime(milliseconds: 1060 * Self.minute))
    func follow(_ wall: WallTime) -> Bool { keeping.follow(wall, hour) }
    #expect(!follow(later), "it runs as the core's")
    // Two hours ahead; what is used from then on counts when the dispatcher begins anew.
    let ahead = WallTime(milliseconds: 1180 * Self.minute)
    #expect(follow(ahead) && !follow(ahead))
    let entry = UsageLedger.Entry(user: "key:shop", minute: 60, requests: 2, tokens: 3)
    let row = keeping.stored(entry)
    #expect(row.minute == ahead.minute)
    let next = UsageKeeping(at: ahead, .zero)
    #expect(next.settled([row], at: .zero).rows.map(next.entry).map(\.minute) == [0])
    #expect(keeping.entry(row) == entry)
    // What a clock is corrected by all the time is none of it.
    #expect(!follow(WallTime(milliseconds: ahead.milliseconds + 59_999)))
    #expect(follow(start) && keeping.stored(entry).minute == start.minute)
  }

  @Test func whatLiesAheadSinceTheClockWasSetBackCountsOnce() {
    let keeping = UsageKeeping(at: WallTime(milliseconds: 1000 * Self.minute), .zero)
    func row(_ user: String, _ minute: Int64, _ requests: Int) -> StoredUsage {
      StoredUsage(user: user, minute: minute, requests: requests, tokens: 10 * requests)
    }
    let usual = [row("a", 990, 1), row("a", 1000, 2)]
    #expect(keeping.settled(usual, at: .zero).rows == usual)
    #expect(keeping.settled(usual, at: .zero).changed.isEmpty)
    let ahead = usual + [row("a", 1001, 4), row("b", 9000, 8), row("a", 9001, 16)]
    let (rows, changed) = keeping.settled(ahead, at: .zero)
    #expect(changed == [row("a", 1000, 22), row("b", 1000, 8)])
    #expect(rows == [row("a", 990, 1)] + changed)
  }

  @Test func theSecretIsMadeOnceAndForItsUserAlone() async throws {
    let state = try TemporaryDirectory()
    let secret = state.path(to: "cookie-secret")
    var first = Data()
    for round in 0..<2 {
      try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { _ in }
      let bytes = try Data(contentsOf: URL(fileURLWithPath: secret))
      if round == 0 { first = bytes }
      #expect(bytes.count == 32 && bytes == first)
    }
    func mode() throws -> Int? {
      try FileManager.default.attributesOfItem(atPath: secret)[.posixPermissions] as? Int
    }
    #expect(try mode() == 0o600)
    // As a backup may bring it back.
    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: secret)
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { _ in }
    #expect(try mode() == 0o600 && Data(contentsOf: URL(fileURLWithPath: secret)) == first)
    #expect(try FileManager.default.contentsOfDirectory(atPath: state.path).allSatisfy { !$0.hasSuffix(".new") })
    // What can't be one is told, and not replaced.
    try state.write("short", to: "cookie-secret")
    let error = try await #require(throws: DispatcherError.self) {
      try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { _ in }
    }
    #expect(error.description.contains("is no secret of 32 bytes: remove it"))
    #expect(try String(contentsOfFile: secret, encoding: .utf8) == "short")
  }
}
