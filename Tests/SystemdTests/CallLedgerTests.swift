import Dispatch
import Testing

@testable import Systemd

@Suite struct CallLedgerTests {
  private func request(_ name: String) -> BusRequest {
    BusRequest(path: "/", interface: "i", member: name, arguments: [], operation: name)
  }

  private func at(_ seconds: UInt64) -> DispatchTime { DispatchTime(uptimeNanoseconds: (1 + seconds) * 1_000_000_000) }

  private func failure(_ code: SystemdError.Code, _ message: String, _ operation: String)
    -> Result<[BusValue], SystemdError>
  {
    .failure(SystemdError(code, message, operation: operation))
  }

  @Test func aCallIsSentAtOnceAndEndsWithItsReply() {
    var ledger = CallLedger()
    let (id, actions) = ledger.add(request("a"), beginsJob: false, deadline: at(90))
    #expect(actions == [.send(id: id, request("a"))])
    #expect(ledger.replied(to: id, .success([.byte(1)])) == [.finish(id: id, .success([.byte(1)]))])
    #expect(ledger.isEmpty)
    #expect(ledger.replied(to: id, .success([])) == [])
  }

  @Test func aCallThatBeginsAJobEndsWithTheJob() {
    var ledger = CallLedger()
    let (id, _) = ledger.add(request("start"), beginsJob: true, deadline: at(90))
    #expect(ledger.jobEnded(path: "/job/7", result: "done") == [])
    #expect(ledger.replied(to: id, .success([.objectPath("/job/7")])) == [])
    #expect(ledger.jobEnded(path: "/job/8", result: "done") == [])
    #expect(ledger.jobEnded(path: "/job/7", result: "failed") == [.finish(id: id, .success([.string("failed")]))])
    #expect(ledger.isEmpty)
  }

  @Test func aRefusedStartEndsWithTheError() {
    var ledger = CallLedger()
    let (id, _) = ledger.add(request("start"), beginsJob: true, deadline: at(90))
    let refused = failure(.unitExists, "there", "start")
    #expect(ledger.replied(to: id, refused) == [.finish(id: id, refused)])
  }

  @Test func noMoreThanTheLimitAreInFlightAndTheOthersFollowInOrder() {
    var ledger = CallLedger(limit: 2)
    let calls = ["a", "b", "c", "d"].map { ledger.add(request($0), beginsJob: $0 == "a", deadline: at(90)) }
    #expect(calls.map { $0.actions.count } == [1, 1, 0, 0])
    // A job that was begun is no longer in flight: its reply has come.
    #expect(
      ledger.replied(to: calls[0].id, .success([.objectPath("/job/1")])) == [.send(id: calls[2].id, request("c"))])
    #expect(
      ledger.replied(to: calls[1].id, .success([])) == [
        .finish(id: calls[1].id, .success([])), .send(id: calls[3].id, request("d")),
      ])
  }

  @Test func deadlinesEndCallsInEveryStage() {
    var ledger = CallLedger(limit: 1)
    let job = ledger.add(request("job"), beginsJob: true, deadline: at(10)).id
    _ = ledger.replied(to: job, .success([.objectPath("/job/1")]))
    let sent = ledger.add(request("sent"), beginsJob: false, deadline: at(20)).id
    let queued = ledger.add(request("queued"), beginsJob: false, deadline: at(30)).id
    #expect(ledger.earliestDeadline == at(10))
    #expect(ledger.expire(at: at(9)) == [])
    #expect(
      ledger.expire(at: at(10)) == [
        .finish(id: job, failure(.timedOut, "no end of the job within the deadline", "job"))
      ]
    )
    #expect(
      ledger.expire(at: at(20)) == [
        .finish(id: sent, failure(.timedOut, "no answer within the deadline", "sent")),
        .send(id: queued, request("queued")),
      ])
    #expect(ledger.jobEnded(path: "/job/1", result: "done") == [])
    #expect(ledger.expire(at: at(30)).count == 1)
    #expect(ledger.isEmpty)
    #expect(ledger.earliestDeadline == nil)
  }

  @Test func aLostConnectionEndsEveryCallOnceAndSendsNothing() {
    var ledger = CallLedger(limit: 2)
    let job = ledger.add(request("job"), beginsJob: true, deadline: at(10)).id
    _ = ledger.replied(to: job, .success([.objectPath("/job/1")]))
    let others = (1...4).map { ledger.add(request("\($0)"), beginsJob: false, deadline: at(10)).id }
    let actions = ledger.failAll(.connectionLost, "gone")
    #expect(
      actions == [.finish(id: job, failure(.connectionLost, "gone", "job"))]
        + others.map { .finish(id: $0, failure(.connectionLost, "gone", "\($0 - 1)")) })
    #expect(ledger.isEmpty)
    // The ledger is as new.
    #expect(ledger.add(request("a"), beginsJob: false, deadline: at(90)).actions.count == 1)
    #expect(ledger.add(request("b"), beginsJob: false, deadline: at(90)).actions.count == 1)
    #expect(ledger.add(request("c"), beginsJob: false, deadline: at(90)).actions.isEmpty)
  }

  @Test func pausesBetweenAttemptsGrowToFiveSeconds() {
    #expect(
      (0...8).map { Backoff.pauseMilliseconds(afterFailures: $0) } == [
        100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000,
      ])
    #expect(Backoff.pauseMilliseconds(afterFailures: .max) == 5000)
  }
}
