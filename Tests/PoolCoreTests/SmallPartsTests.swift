import Testing

@testable import PoolCore

@Suite struct SmallPartsTests {
  @Test func anInstancesNameFromOutsideIsShortAndPlain() {
    for name in ["gpu0", "a.b-c_d", "-", String(repeating: "x", count: 32)] {
      #expect(InstanceID(validating: name) == InstanceID(name))
    }
    for name in ["", "GPU0", "a b", "gpu/0", "ü", "gpu0\n", String(repeating: "x", count: 33)] {
      #expect(InstanceID(validating: name) == nil, "\(name)")
    }
  }

  @Test func theBackOffFollowsItsTable() {
    var restarts = Restarts()
    var pauses: [Duration] = []
    for _ in 0..<5 { pauses.append(restarts.failed("exit status 1", hadRun: true, limits: .init(), at: .zero)) }
    #expect(pauses == [.zero, .seconds(1), .seconds(2), .seconds(4), .seconds(600)])
    var neverRan = Restarts()
    let first = neverRan.failed("no such file", hadRun: false, limits: .init(), at: .zero)
    #expect(first == .seconds(1))
    #expect(restarts.isQuarantined)
    #expect(!restarts.mayStart(at: .zero + .seconds(599)))
    #expect(restarts.mayStart(at: .zero + .seconds(600)))
  }

  @Test func aWatcherIsToldAtOnceThenEveryTenthOfASecondThenAsAHeartbeat() {
    var pacing = PushPacing()
    let start = Instant.zero + .seconds(1)
    #expect(pacing.nextPush(at: start) == start)
    pacing.pushed(at: start)
    #expect(pacing.nextPush(at: start) == start + .seconds(5))
    pacing.changed()
    #expect(pacing.nextPush(at: start) == start + .milliseconds(100))
    // After a quiet tenth of a second a change is told at once.
    #expect(pacing.nextPush(at: start + .seconds(2)) <= start + .seconds(2))
  }

  @Test func outsideQueuesCountWhileTheirConnectionLivesAndWithinBounds() {
    var queues = OutsideQueues()
    func report(_ report: OutsideQueues.Report, isAccepted expected: Bool) {
      let accepted = queues.report(report, session: 1)
      #expect(accepted == expected)
    }
    report(.init(frontEnd: "flask", depth: 1_000_000, oldestWait: nil), isAccepted: true)
    #expect(queues.depth == OutsideQueues.deepest)
    report(.init(frontEnd: "flask", depth: -5, oldestWait: nil), isAccepted: true)
    #expect(queues.depth == 0)
    for number in 0..<OutsideQueues.frontEndsPerSession - 1 {
      report(.init(frontEnd: "f\(number)", depth: 1, oldestWait: nil), isAccepted: true)
    }
    report(.init(frontEnd: "one too many", depth: 1, oldestWait: nil), isAccepted: false)
    queues.forget(session: 1)
    #expect(queues.depth == 0)
  }

  @Test func theLengthOfAnswersIsAssumedAtFirstAndObservedInTheEnd() {
    var outputs = OutputLengths()
    #expect(outputs.mean == 211)
    outputs.add(1311)
    #expect(outputs.mean == 311, "one answer alone decides little")
    var means: [Int] = []
    for _ in 0..<30 {
      outputs.add(1000)
      means.append(outputs.mean)
    }
    #expect(means == means.sorted() && means.last ?? 0 > 800, "\(means)")
    for _ in 0..<300 { outputs.add(1000) }
    #expect(outputs.mean == 1000, "what was assumed, and what is long ago, is forgotten")
    for _ in 0..<150 { outputs.add(0) }
    #expect(outputs.mean == 500)
    for tokens in [.max, -5, .max] { outputs.add(tokens) }
    #expect(outputs.mean > 500 && outputs.mean < 1_000_000)
  }

  @Test func timesStayWithinTheirRange() {
    #expect(Instant(nanoseconds: .max) + .seconds(1) == Instant(nanoseconds: .max))
    #expect(Instant(nanoseconds: .min) - .seconds(1) == Instant(nanoseconds: .min))
    #expect(Duration.seconds(Int64.max).nanoseconds == .max)
    #expect((Instant.zero + .milliseconds(1500) - .zero).seconds == 1.5)
  }
}
