import PoolCore
import QueueStore
import Testing

@testable import Chat

@Suite struct ExpiryClockTests {
  private static let day: Int64 = 86_400_000

  @Test func `time passes for sessions no faster than it does`() {
    let (start, now) = (WallTime(milliseconds: 100 * Self.day), Instant.zero + .seconds(50))
    let clock = ExpiryClock(start, at: now)
    let later = now + .seconds(60)
    func time(_ wall: Int64) -> Int64 { clock.time(WallTime(milliseconds: wall), at: later).milliseconds }
    #expect(time(100 * Self.day + 60_000) == 100 * Self.day + 60_000)
    // For a minute the clock is a month ahead.
    #expect(time(132 * Self.day) == 100 * Self.day + 60_000)
    // What it says after it was set back counts.
    #expect(time(99 * Self.day) == 99 * Self.day)
  }
}
