import OrderedCollections
import PoolCore
import Testing

/// What makes an instance unhealthy, and what becomes of its requests.
@Suite struct HealthTests {
  @Test func aStreamThatStandsStillTakesTheInstanceOut() {
    var pool = PoolUnderTest(instances: 2)
    for number: UInt64 in 1...3 { pool.arrive(number) }
    pool.begin(1)
    pool.begin(2)
    pool.advance(.seconds(30), progress: [2: .seconds(29)])
    #expect(pool.ended == [1: .failed(.instanceLost)])
    #expect(pool.dispatch.maxConcurrent == 1)
    // A ping does not bring it back.
    pool.answerProbes()
    #expect(pool.dispatch.maxConcurrent == 1)
  }

  @Test func aNewSetOfInstancesSaysNothingOfTheStreamsThatRun() {
    var pool = PoolUnderTest(instances: 2)
    pool.arrive(1)
    pool.begin(1)
    for _ in 0..<40 { pool.advance(.seconds(1), progress: [1: .seconds(1)]) }
    pool.set(session: 1, roles: [1: .draining])
    pool.set(session: 2, roles: [:])
    #expect(pool.ended.isEmpty)
    #expect(pool.isHealthy("gpu0"))
  }

  @Test func aStreamWithoutAByteInTimeIsTriedOnceMoreAndThenEnds() {
    var pool = PoolUnderTest(instances: 3)
    pool.arrive(1)
    pool.advance(pool.limit)
    #expect(pool.isUnhealthy("gpu0", .silent(.seconds(600))))
    #expect(pool.withdrawn == [1] && pool.ended.isEmpty)
    #expect(pool.places == ["gpu0", "gpu1"])
    pool.advance(pool.limit)
    #expect(pool.isUnhealthy("gpu1", .silent(.seconds(600))))
    #expect(pool.ended == [1: .failed(.noAnswer)])
    #expect(pool.started.count == 2)
  }

  @Test func aStreamThatFailedElsewhereBeforeIsNotTriedOnceMore() {
    var pool = PoolUnderTest(instances: 3)
    pool.arrive(1)
    #expect(pool.fail(1, .status(500)) == .wait)
    pool.advance(pool.limit)
    #expect(pool.ended == [1: .failed(.noAnswer)])
  }

  @Test func whatIsNoInferenceEndsInTimeAndSaysNothingOfTheInstance() {
    var pool = PoolUnderTest(instances: 1)
    pool.arrive(1, need: .reference)
    pool.advance(pool.limit)
    #expect(pool.ended == [1: .failed(.noAnswer)])
    #expect(pool.isHealthy("gpu0"))
  }

  @Test func whatIsNoInferenceAndStandsStillEndsAlone() {
    var pool = PoolUnderTest(instances: 1)
    pool.arrive(1, need: .reference)
    pool.begin(1)
    pool.advance(.seconds(29))
    #expect(pool.ended.isEmpty)
    pool.advance(.seconds(1))
    #expect(pool.ended == [1: .failed(.instanceLost)])
    #expect(pool.dispatch.instances["gpu0"]?.isIdle == true && pool.isHealthy("gpu0"))
  }

  @Test func aRequestThatBreaksEverywhereCutsNoOther() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.arrive(1)
    pool.begin(1)
    pool.arrive(2)
    for _ in 0..<2 { #expect(pool.fail(2, .broken) == .wait) }
    #expect(pool.fail(2, .broken) == .fail(.attemptsExhausted))
    #expect(pool.ended[1] == nil && pool.isHealthy("gpu0"))
  }

  @Test func whatBreaksRequestsThatAnotherServesIsCondemnedAlthoughItAnswersProbes() {
    var pool = PoolUnderTest(instances: 2)
    for number in 1...3 as ClosedRange<UInt64> {
      pool.arrive(number)
      #expect(pool.places.last == "gpu0")
      #expect(pool.fail(number, .broken) == .wait)
      #expect(pool.places.last == "gpu1")
      pool.begin(number)
      pool.end(number)
      pool.advance(.seconds(1))
      pool.answerProbes()
    }
    #expect(pool.isUnhealthy("gpu0", .erring(requests: 3)))
  }

  @Test func aDownloadThatIsNotStreamedMayBeSilentForAsLongAsItTakes() {
    var pool = PoolUnderTest(instances: 1)
    pool.arrive(1, need: .storeReference, streams: false)
    for _ in 0..<5 { pool.advance(pool.limit) }
    #expect(pool.ended.isEmpty)
    #expect(pool.isHealthy("gpu0"))
  }

  @Test func aLongAnswerThatIsNoStreamCondemnsNothingUntilItHappensAgainAndAgain() {
    var pool = PoolUnderTest(instances: 1)
    for number in 1...3 as ClosedRange<UInt64> {
      #expect(pool.isHealthy("gpu0"))
      pool.arrive(number, streams: false)
      pool.advance(pool.limit)
      #expect(pool.ended[number] == .failed(.noAnswer))
    }
    #expect(pool.isUnhealthy("gpu0", .erring(requests: 3)))
  }

  @Test func longAnswersBesideEachOtherCountAsOneError() {
    var pool = PoolUnderTest(instances: 1, slots: 6)
    for number in 1...3 as ClosedRange<UInt64> { pool.arrive(number, streams: false) }
    for number in 4...6 as ClosedRange<UInt64> {
      pool.advance(.seconds(1))
      pool.arrive(number, streams: false)
    }
    for _ in 0..<4 { pool.advance(pool.limit / 2) }
    #expect(pool.ended.values.count { $0 == .failed(.noAnswer) } == 6)
    #expect(pool.isHealthy("gpu0"))
  }

  @Test func aLongAnswerBesideAStreamThatMovesIsNoError() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.arrive(1)
    pool.begin(1)
    for number in 2...5 as ClosedRange<UInt64> {
      pool.arrive(number, streams: false)
      pool.advance(pool.limit, progress: [1: pool.limit - .seconds(1)])
      #expect(pool.ended == [number: .failed(.noAnswer)])
      pool.ended = [:]
    }
    #expect(pool.isHealthy("gpu0"))
  }

  @Test func errorsCountAgainstAnInstanceOnlyWhereAnotherServed() {
    var pool = PoolUnderTest(instances: 2)
    // Wrong everywhere: the request's own fault.
    for number in 1...5 as ClosedRange<UInt64> {
      pool.arrive(number)
      #expect(pool.fail(number, .status(500)) == .wait)
      #expect(pool.fail(number, .status(500)) == .passOn)
      pool.end(number, .failed(.upstreamError))
    }
    #expect(pool.dispatch.maxConcurrent == 2)
    for number in 6...8 as ClosedRange<UInt64> {
      #expect(pool.dispatch.maxConcurrent == 2)
      pool.arrive(number)
      #expect(pool.places.last == "gpu0")
      #expect(pool.fail(number, .status(500)) == .wait)
      #expect(pool.places.last == "gpu1")
      pool.begin(number)
      pool.end(number)
    }
    #expect(pool.isUnhealthy("gpu0", .erring(requests: 3)))
    #expect(pool.isHealthy("gpu1"))
  }

  /// A model that is too large for one of two unequal GPUs, on which a long stream runs.
  @Test func anInstanceThatErrsGetsNothingNewAndFinishesWhatItHasBegun() {
    var pool = PoolUnderTest(instances: 2, slots: 3, roles: [.core, .surplus])
    pool.arrive(1)
    pool.begin(1)
    pool.arrive(2, need: .storeReference)
    pool.arrive(3)
    #expect(pool.places.last == "gpu0")
    for number in 4...6 as ClosedRange<UInt64> { pool.errsOnGPU0AndIsServedOnGPU1(number) }
    #expect(pool.isUnhealthy("gpu0", .erring(requests: 3)))
    // What has not begun waits for another one.
    #expect(pool.withdrawn == [3] && pool.ended.isEmpty && pool.places.last == "gpu1")
    #expect(pool.dispatch.instances["gpu0"]?.leases == [RequestID(1)])
    #expect(pool.dispatch.instances["gpu0"]?.references == [RequestID(2)])
    #expect(pool.dispatch.maxConcurrent == 3)
    pool.answerProbes()
    #expect(pool.dispatch.maxConcurrent == 3)

    pool.end(1)
    #expect(pool.dispatch.instances["gpu0"]?.isIdle == false)
    pool.end(2)
    #expect(pool.dispatch.instances["gpu0"]?.isIdle == true)
  }

  @Test func whatACondemnedInstanceFinishesMustMove() {
    var pool = PoolUnderTest(instances: 2, slots: 2, roles: [.core, .surplus])
    pool.arrive(1)
    pool.begin(1)
    for number in 4...6 as ClosedRange<UInt64> { pool.errsOnGPU0AndIsServedOnGPU1(number) }
    pool.advance(.seconds(30), progress: [1: .seconds(29)])
    #expect(pool.ended.isEmpty && pool.isUnhealthy("gpu0"))
    pool.advance(.seconds(30))
    #expect(pool.ended == [1: .failed(.instanceLost)])
    #expect(pool.isUnhealthy("gpu0", .stalled(.seconds(30))))
    #expect(pool.dispatch.instances["gpu0"]?.isIdle == true)
  }

  @Test func aCondemnedInstanceThatIsSilentFinishesNothing() {
    var pool = PoolUnderTest(instances: 2, slots: 2, roles: [.core, .surplus])
    pool.arrive(1, need: .storeReference)
    for number in 4...6 as ClosedRange<UInt64> { pool.errsOnGPU0AndIsServedOnGPU1(number) }
    #expect(pool.isUnhealthy("gpu0", .erring(requests: 3)))
    for _ in 1...3 {
      #expect(pool.dispatch.instances["gpu0"]?.references == [RequestID(1)])
      pool.advance(.seconds(1))
      pool.missProbes(of: "gpu0")
    }
    #expect(pool.dispatch.instances["gpu0"]?.isIdle == true)
    #expect(pool.withdrawn == [1] && pool.places.last == "gpu1")
  }

  @Test func anAnswerMakesAnEndOfTheErrorsBeforeIt() {
    var pool = PoolUnderTest(instances: 2)
    for number in 1...5 as ClosedRange<UInt64> {
      pool.errsOnGPU0AndIsServedOnGPU1(number * 10)
      pool.errsOnGPU0AndIsServedOnGPU1(number * 10 + 1)
      pool.arrive(number * 10 + 2)
      pool.begin(number * 10 + 2)
      pool.end(number * 10 + 2)
      pool.advance(.seconds(1))
    }
    #expect(pool.isHealthy("gpu0"))
  }

  @Test func anErrorOfItsOwnMakesNoEndOfTheErrorsBeforeIt() {
    var pool = PoolUnderTest(instances: 2)
    pool.errsOnGPU0AndIsServedOnGPU1(1)
    pool.errsOnGPU0AndIsServedOnGPU1(2)
    pool.arrive(3)
    pool.begin(3, status: 500)
    pool.end(3, .failed(.upstreamError))
    pool.errsOnGPU0AndIsServedOnGPU1(4)
    #expect(pool.isUnhealthy("gpu0", .erring(requests: 3)))
  }

  @Test func anErrorThatIsKnownAsOneLateDoesNotSpeakAgainstWhatHasAnsweredSince() {
    var pool = PoolUnderTest(instances: 2)
    for number in 8...9 as ClosedRange<UInt64> {
      pool.arrive(number)
      pool.begin(number)
    }
    pool.end(8)
    for number in 1...3 as ClosedRange<UInt64> {
      pool.arrive(number)
      #expect(pool.places.last == "gpu0")
      #expect(pool.fail(number, .status(500)) == .wait)
    }
    pool.advance(.seconds(1))
    pool.arrive(4)
    pool.begin(4)
    // The other serves one after the other, while the stream of gpu0 goes on.
    pool.end(9)
    for number in 1...3 as ClosedRange<UInt64> {
      pool.begin(number)
      pool.end(number)
    }
    #expect(pool.isHealthy("gpu0"))
  }

  @Test func whatHasRecoveredIsNotJudgedByWhatItFailedBefore() {
    var pool = PoolUnderTest(instances: 2)
    for number in 8...9 as ClosedRange<UInt64> {
      pool.arrive(number)
      pool.begin(number)
    }
    pool.end(8)
    for number in 1...3 as ClosedRange<UInt64> {
      pool.arrive(number)
      #expect(pool.fail(number, .status(500)) == .wait)
    }
    for _ in 0..<3 {
      pool.advance(.seconds(1))
      pool.missProbes(of: "gpu0")
    }
    #expect(!pool.isHealthy("gpu0"))
    pool.advance(.seconds(1))
    pool.answerProbes()
    pool.end(9)
    for number in 1...3 as ClosedRange<UInt64> {
      pool.begin(number)
      pool.end(number)
    }
    #expect(pool.isHealthy("gpu0"))
  }

  @Test func theFaultOfAStreamOutweighsTheErrorOfTheSameMoment() {
    var pool = PoolUnderTest(instances: 1, slots: 3)
    for number in 1...2 as ClosedRange<UInt64> {
      pool.arrive(number, streams: false)
      pool.advance(pool.limit)
    }
    pool.arrive(3, streams: false)
    pool.arrive(4)
    pool.arrive(5)
    pool.advance(pool.limit)
    #expect(pool.isUnhealthy("gpu0", .silent(.seconds(600))))
    #expect(pool.ended[3] == .failed(.noAnswer))
    #expect(pool.withdrawn == [4, 5])
    #expect(pool.reports.count { if case .instanceUnhealthy = $0 { true } else { false } } == 1)
  }

  @Test func threeMissedProbesTakeItOutAndAnAnswerBringsItBack() {
    var pool = PoolUnderTest(instances: 1)
    pool.arrive(1)
    for _ in 0..<3 {
      pool.advance(.seconds(1))
      pool.missProbes()
    }
    #expect(pool.dispatch.maxConcurrent == 0)
    #expect(pool.withdrawn == [1])
    pool.advance(.seconds(1))
    pool.answerProbes()
    #expect(pool.dispatch.maxConcurrent == 1)
    #expect(pool.started == [1, 1])
  }
}

extension PoolUnderTest {
  fileprivate var limit: Duration { dispatch.limits.firstByteLimit }

  func isHealthy(_ id: InstanceID) -> Bool { dispatch.instances[id]?.health == .healthy }

  /// - Parameter reason: nil for any.
  fileprivate func isUnhealthy(_ id: InstanceID, _ reason: UnhealthyReason? = nil) -> Bool {
    guard case .unhealthy(let known, _) = dispatch.instances[id]?.health else { return false }
    return reason.map { $0 == known } ?? true
  }

  fileprivate mutating func errsOnGPU0AndIsServedOnGPU1(_ number: UInt64) {
    arrive(number)
    guard places.last == "gpu0" else {
      Issue.record("request \(number) went to \(places.last ?? "nobody")")
      return
    }
    #expect(fail(number, .status(500)) == .wait)
    begin(number)
    end(number)
  }
}
