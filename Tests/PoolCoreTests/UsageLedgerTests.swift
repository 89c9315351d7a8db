import Testing

@testable import PoolCore

/// What a user used within the last hour, and until when that counts.
@Suite struct UsageLedgerTests {
  private typealias Usage = UsageLedger.Usage
  private let ten = UserLimits(requestsPerHour: 10, tokensPerHour: 1000)

  private func minutes(_ minutes: Double) -> Instant { .zero + .seconds(rounding: minutes * 60) }

  @Test func whatWasUsedCountsForAnHourAfterItsMinute() {
    var ledger = UsageLedger()
    // At 0:30 six, at 20:00 four: the limit.
    for _ in 0..<6 { ledger.add(Usage(requests: 1), of: "eva", ten, at: minutes(0.5)) }
    #expect(ledger.refusal(of: "eva", ten, at: minutes(20)) == nil)
    for _ in 0..<4 { ledger.add(Usage(requests: 1), of: "eva", ten, at: minutes(20)) }
    #expect(ledger.refusal(of: "eva", ten, at: minutes(20)) == Refusal(.rateLimited, retryAfter: .seconds(41 * 60)))
    #expect(ledger.refusal(of: "ugo", ten, at: minutes(20)) == nil)
    #expect(ledger.refusal(of: "eva", ten, at: minutes(60.99))?.failure == .rateLimited)
    // At 61:00 the six are over sixty minutes old, whenever in their minute they came.
    #expect(ledger.refusal(of: "eva", ten, at: minutes(61)) == nil)
    #expect(
      ledger.requestStanding(of: "eva", ten, at: minutes(61))
        == LimitStanding(limit: 10, remaining: 6, reset: .seconds(20 * 60)))
    #expect(
      ledger.requestStanding(of: "eva", ten, at: minutes(81)) == LimitStanding(limit: 10, remaining: 10, reset: .zero))
  }

  @Test func noSixtyMinutesHoldMoreThanTheLimit() {
    var random = Numbers(seed: 7)
    var ledger = UsageLedger()
    var accepted: [Double] = []
    var time = 0.0
    for _ in 0..<3_000 {
      time += Double.random(in: 0...8, using: &random)
      let now = minutes(time)
      if let refusal = ledger.refusal(of: "eva", ten, at: now) {
        let later = now + (refusal.retryAfter ?? .zero)
        #expect(ledger.refusal(of: "eva", ten, at: later) == nil)
        #expect(
          ledger.refusal(of: "eva", ten, at: later - .nanoseconds(1))
            == Refusal(refusal.failure, retryAfter: .nanoseconds(1)))
      } else {
        ledger.add(Usage(requests: 1), of: "eva", ten, at: now)
        accepted.append(time)
      }
    }
    for (first, eleventh) in zip(accepted, accepted.dropFirst(10)) { #expect(eleventh - first > 60) }
    // Nor much less.
    #expect(Double(accepted.count) >= time / 61 * 9)
  }

  @Test func tokensCountByThemselves() {
    var ledger = UsageLedger()
    ledger.add(Usage(requests: 1, tokens: 400), of: "eva", ten, at: minutes(1))
    ledger.add(Usage(tokens: 600), of: "eva", ten, at: minutes(3))
    #expect(ledger.refusal(of: "eva", ten, at: minutes(5)) == Refusal(.tokenLimited, retryAfter: .seconds(57 * 60)))
    #expect(ledger.tokenStanding(of: "eva", ten, at: minutes(62))?.remaining == 400)
    #expect(ledger.tokenStanding(of: "eva", UserLimits(), at: minutes(5)) == nil)
    // A limit that was lowered: until less than it counts.
    let fifty = UserLimits(tokensPerHour: 50)
    #expect(
      ledger.tokenStanding(of: "eva", fifty, at: minutes(5))
        == LimitStanding(limit: 50, remaining: 0, reset: .seconds(59 * 60)))
    #expect(ledger.refusal(of: "ugo", UserLimits(requestsPerHour: 0), at: minutes(5))?.retryAfter == .seconds(61 * 60))
  }

  @Test func whatIsTakenBackCountsNoMore() {
    var ledger = UsageLedger()
    for _ in 0..<10 { ledger.add(Usage(requests: 1, tokens: 7), of: "eva", ten, at: minutes(2)) }
    ledger.takeBack(Usage(requests: 1, tokens: 7), of: "eva", in: 2)
    #expect(ledger.usage(of: "eva", at: minutes(3)) == Usage(requests: 9, tokens: 63))
    ledger.takeBack(Usage(requests: 1, tokens: 7), of: "eva", in: 1)
    ledger.takeBack(Usage(requests: 1, tokens: 7), of: "ugo", in: 2)
    #expect(ledger.usage(of: "eva", at: minutes(3)) == Usage(requests: 9, tokens: 63))
  }

  @Test func itGoesOnAfterARestartFromWhatWasKept() {
    var ledger = UsageLedger()
    var kept: [UserID: [Int: UsageLedger.Entry]] = [:]
    func save() {
      for entry in ledger.takeChanges() { kept[entry.user, default: [:]][entry.minute] = entry }
    }
    for minute in 0..<30 {
      ledger.add(
        Usage(requests: 1, tokens: minute), of: minute.isMultiple(of: 2) ? "eva" : "ugo", ten,
        at: minutes(Double(minute)))
      if minute.isMultiple(of: 7) { save() }
    }
    ledger.takeBack(Usage(requests: 1), of: "eva", in: 28)
    save()
    #expect(ledger.takeChanges().isEmpty)
    // The clock of the next life began 1000 minutes later.
    let entries = kept.values.flatMap(\.values).map { entry in
      UsageLedger.Entry(user: entry.user, minute: entry.minute - 1000, requests: entry.requests, tokens: entry.tokens)
    }
    var restored = UsageLedger(entries.shuffled(), at: minutes(-960))
    #expect(restored.takeChanges().isEmpty)
    for minute in stride(from: 40.0, through: 95, by: 0.5) {
      for user in ["eva", "ugo"] as [UserID] {
        #expect(restored.usage(of: user, at: minutes(minute - 1000)) == ledger.usage(of: user, at: minutes(minute)))
        #expect(
          restored.refusal(of: user, ten, at: minutes(minute - 1000))
            == ledger.refusal(of: user, ten, at: minutes(minute)))
      }
    }
  }

  @Test func whatWasKeptInTheFutureOrAsNonsenseHarmsNobodyForLong() {
    let entries = [
      UsageLedger.Entry(user: "eva", minute: 500, requests: 10, tokens: -5),
      UsageLedger.Entry(user: "ugo", minute: -400, requests: 10, tokens: 0),
      UsageLedger.Entry(user: "ida", minute: 0, requests: .max, tokens: .max),
      UsageLedger.Entry(user: "ida", minute: 0, requests: .max, tokens: .max),
    ]
    let ledger = UsageLedger(entries, at: minutes(1))
    #expect(ledger.refusal(of: "eva", ten, at: minutes(1))?.retryAfter == .seconds(61 * 60))
    #expect(ledger.refusal(of: "ugo", ten, at: minutes(1)) == nil)
    #expect(ledger.refusal(of: "ida", ten, at: minutes(1))?.failure == .rateLimited)
  }

  @Test func whoeverUsedNothingWithinTheHourIsForgotten() {
    var ledger = UsageLedger()
    for number in 0..<1000 { ledger.add(Usage(requests: 1), of: UserID("u\(number)"), ten, at: minutes(0)) }
    ledger.add(Usage(requests: 1), of: "eva", ten, at: minutes(30))
    #expect(ledger.userCount == 1001)
    ledger.add(Usage(requests: 1), of: "ugo", ten, at: minutes(61))
    #expect(ledger.userCount == 2)
  }

  @Test func nobodyEscapesALimitByFillingTheTable() {
    var ledger = UsageLedger()
    for _ in 0..<10 { ledger.add(Usage(requests: 1), of: "eva", ten, at: minutes(1)) }
    for number in 0..<3 * UsageLedger.mostUsers {
      ledger.add(Usage(requests: 1), of: UserID("u\(number)"), ten, at: minutes(2))
    }
    #expect(ledger.userCount <= UsageLedger.mostUsers)
    #expect(ledger.refusal(of: "eva", ten, at: minutes(2))?.failure == .rateLimited)
    #expect(ledger.takeChanges().count <= UsageLedger.mostUsers)
  }
}
