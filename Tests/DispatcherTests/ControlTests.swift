import ControlInterface
import NIOPosix
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Dispatcher

@Suite(.timeLimit(.minutes(2)))
struct ControlTests {
  // MARK: RetireInstance

  @Test func anIdleInstanceIsRetiredAndGetsNoWorkFromThenOn() async throws {
    try await DispatcherRig.run { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      try await rig.use(gpu0, gpu1)
      #expect(try await rig.retire("gpu0") == .retired)
      let queue = try await rig.queue()
      #expect(queue.maxConcurrent == 1)
      #expect(queue.instances[0].retired)
      let client = try await rig.generate()
      try await gpu1.ask().serve()
      #expect(try await client.answer().status == 200)
      #expect(gpu0.asked.isEmpty)
    }
  }

  @Test func aBusyInstanceIsNotRetiredAndNothingChanges() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let client = try await rig.generate()
      let asked = try await gpu0.ask()
      #expect(try await rig.retire("gpu0") == .busy)
      #expect(try await rig.queue().maxConcurrent == 1)
      try await asked.serve()
      #expect(try await client.answer().status == 200)
      try await rig.wait("it is idle") { $0.inFlight == 0 }
      #expect(try await rig.retire("gpu0") == .retired)
    }
  }

  @Test func aReferenceKeepsAnInstanceFromBeingRetired() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let client = try await rig.connect()
      try await client.send("GET", "/api/tags")
      let asked = try await gpu0.ask()
      #expect(try await rig.queue().instances[0].references == 1)
      #expect(try await rig.queue().maxConcurrent == 1, "a reference takes no slot")
      #expect(try await rig.retire("gpu0") == .busy)
      try await asked.answer(#"{"models":[]}"#)
      #expect(try await client.answer().text == #"{"models":[]}"#)
    }
  }

  @Test func aStaleInvocationIsRefused() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      #expect(try await rig.retire("gpu0", invocation: "older") == .unknown)
      #expect(try await rig.retire("gpu9") == .unknown)
      #expect(try await rig.queue().maxConcurrent == 1)
    }
  }

  @Test func aNewSupervisorThatWantsARetiredInstanceGetsItBack() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      #expect(try await rig.retire("gpu0") == .retired)
      try await rig.setInstances([DispatcherRig.wanted(gpu0)])
      #expect(try await rig.queue().maxConcurrent == 0, "the same connection has retired it")
      let successor = try await rig.client()
      try await rig.setInstances([DispatcherRig.wanted(gpu0)], over: successor)
      try await rig.waitForCapacity(1)
    }
  }

  @Test func aDrainingInstanceEndsItsWorkDoesNotCountAndMayBeSetBack() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let running = try await rig.generate("running")
      let asked = try await gpu0.ask(0)
      try await rig.setInstances([DispatcherRig.wanted(gpu0, role: .draining)])
      #expect(try await rig.queue().maxConcurrent == 0)
      let waiting = try await rig.generate("waiting")
      try await rig.waitForDepth(1)
      try await asked.serve()
      #expect(try await running.answer().text.contains("\"done\":true"))
      #expect(gpu0.asked.count == 1)
      try await rig.setInstances([DispatcherRig.wanted(gpu0)])
      try await gpu0.ask(1).serve()
      #expect(try await waiting.answer().status == 200)
    }
  }

  @Test func theSupervisorsComingAndGoingIsToldOnceAndChangesNothing() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      let first = try await rig.client()
      for _ in 0..<3 { try await rig.setInstances([DispatcherRig.wanted(gpu0)], over: first) }
      try await rig.waitForCapacity(1)
      await first.close()
      try await eventually("its end is told") { rig.journalText.contains("the instances stay in use") }
      #expect(try await rig.queue().maxConcurrent == 1)
      #expect(rig.journalText.split(separator: "\n").count { $0.contains("the supervisor (process") } == 1)
    }
  }

  // MARK: Subscriptions

  @Test func aChangeIsPushedAtOnceAndAHeartbeatComesWithoutOne() async throws {
    try await DispatcherRig.run { rig in
      let pushes = try await rig.watchQueue()
      try await pushes.wait("the state of now") { !$0.isEmpty }
      let clock = ContinuousClock()
      let client = try await rig.generate()
      let begun = clock.now
      try await pushes.wait("the change") { $0.last?.queue.depth == 1 }
      #expect(clock.now - begun < .seconds(2))
      #expect(pushes.all.last?.queue.peakDemand == 1)
      let count = pushes.all.count
      try await pushes.wait("the heartbeat") { $0.count > count }
      #expect(clock.now - begun > .seconds(3))
      await client.close()
    }
  }

  @Test func aPeakThatIsOverIsFollowedByWhatIsThereNow() async throws {
    try await DispatcherRig.run { rig in
      let pushes = try await rig.watchQueue()
      try await pushes.wait("the state of now") { !$0.isEmpty }
      let begun = ContinuousClock.now
      try await rig.generate().close()
      try await pushes.wait("the peak") { $0.contains { $0.queue.peakDemand == 1 } }
      try await pushes.wait("its end") { $0.last?.queue.peakDemand == 0 }
      #expect(ContinuousClock.now - begun < PushPacing.heartbeat)
    }
  }

  @Test func manyChangesAreFewPushes() async throws {
    try await DispatcherRig.run { rig in
      let pushes = try await rig.watchQueue()
      let clock = ContinuousClock()
      let begun = clock.now
      for _ in 0..<100 {
        let client = try await rig.generate()
        await client.close()
      }
      try await pushes.wait("all have come and gone") { $0.last?.queue.completions == 100 }
      let time = (clock.now - begun).seconds
      #expect(Double(pushes.all.count) <= time * 10 + 3, "\(pushes.all.count) pushes in \(time) s")
    }
  }

  @Test func withoutMoreOneAnswerComes() async throws {
    try await DispatcherRig.run { rig in
      let reply: DispatcherCalls.WatchQueueReply = try await rig.supervisor.call(
        DispatcherInterface.Method.watchQueue.qualified)
      #expect(reply.queue.depth == 0)
      let capacity: DispatcherCalls.WatchCapacityReply = try await rig.supervisor.call(
        DispatcherInterface.Method.watchCapacity.qualified)
      #expect(capacity.endpoints == rig.daemon.endpoints)
    }
  }

  @Test func aFrontEndIsToldTheCapacityWhenItChanges() async throws {
    try await DispatcherRig.run { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      let pushes = try await rig.watchCapacity()
      try await rig.use(gpu0)
      try await pushes.wait("the first is told") { $0.last?.maxConcurrent == 1 }
      try await rig.use(gpu0, gpu1)
      try await pushes.wait("each is told") { $0.map(\.maxConcurrent) == [0, 1, 2] }
      #expect(pushes.all.allSatisfy { $0.endpoints == rig.daemon.endpoints })
    }
  }

  /// Each push is about 120 kB here, so that after a few of them nothing more fits into the sockets.
  @Test func aWatcherThatDoesNotReadKeepsItsConnectionAndThenGetsTheLatestWithThePeakThatItMissed() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start("gpu0")
      var wanted = DispatcherRig.wanted(gpu0, role: .draining)
      wanted.gpus = Array(repeating: String(repeating: "x", count: 1000), count: 60)
      var other = wanted
      (other.id, other.address) = ("gpu1", "127.0.0.1:1")
      try await rig.setInstances([wanted, other])
      // Replies are fetched as they are consumed: what nobody asks for stays in the sockets.
      let slow = try await rig.client()
      let replies = try await slow.subscribe(
        DispatcherInterface.Method.watchQueue.qualified, as: DispatcherCalls.WatchQueueReply.self)
      let reader = try await rig.watchQueue()
      for round in 0..<20 {
        let client = try await rig.generate()
        try await reader.wait("push \(round)") { $0.last?.queue.depth == 1 }
        await client.close()
        try await reader.wait("push \(round)") { $0.last?.queue.depth == 0 }
      }
      var crowd: [HTTPProbe] = []
      for _ in 0..<7 { crowd.append(try await rig.generate()) }
      try await reader.wait("the crowd") { $0.contains { $0.queue.peakDemand == 7 } }
      for client in crowd { await client.close() }
      try await reader.wait("nobody") { $0.last?.queue.completions == 27 }

      var iterator = replies.makeAsyncIterator()
      var read: [DispatcherTypes.Queue] = []
      while read.last?.completions != 27 { read.append(try #require(try await iterator.next()).queue) }
      #expect(read.count < 20, "what it missed was not kept: \(read.count)")
      #expect(read.last?.depth == 0)
      #expect(read.last?.peakDemand == 7)
    }
  }

  // MARK: Outside queues

  @Test func aFrontEndsDepthCountsWhileItsConnectionLives() async throws {
    try await DispatcherRig.run { rig in
      let frontEnd = try await rig.client()
      try await frontEnd.order(
        .reportQueueDepth, DispatcherCalls.ReportQueueDepth(frontEnd: "flask", depth: 7, oldestWaitSeconds: 1.5))
      try await frontEnd.order(
        .reportQueueDepth, DispatcherCalls.ReportQueueDepth(frontEnd: "flask", depth: 5, oldestWaitSeconds: nil))
      let queue = try await rig.queue()
      #expect(queue.frontEnds.map(\.name) == ["flask"])
      #expect(queue.frontEnds.map(\.depth) == [5])
      #expect(QueueObservation(queue).demand == 5)
      await frontEnd.close()
      try await rig.wait("it is forgotten") { $0.frontEnds.isEmpty }
    }
  }

  @Test func oneConnectionReportsForSixteenFrontEndsAtMost() async throws {
    try await DispatcherRig.run { rig in
      for number in 0..<16 { try await report(rig, "front\(number)") }
      let error = await #expect(throws: VarlinkError.self) { try await report(rig, "one more") }
      #expect(error?.code == .remote(VarlinkErrorReply(ControlError.tooManyFrontEnds, ["most": 16])))
      try await report(rig, "front3")
    }
  }

  private func report(_ rig: DispatcherRig, _ name: String) async throws {
    try await rig.supervisor.order(
      .reportQueueDepth, DispatcherCalls.ReportQueueDepth(frontEnd: name, depth: 1, oldestWaitSeconds: nil))
  }

  // MARK: Status

  @Test func theStatusSaysWhoAnswersWhere() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let status = try await rig.status()
      #expect(status.version == "1.2.3")
      #expect(status.processID == getpid())
      #expect(status.endpoints == ["http://127.0.0.1:\(rig.port)"])
      #expect(status.metrics == rig.daemon.metricsEndpoint)
      let instance = try #require(status.queue.instances.first)
      #expect(instance.id == "gpu0")
      #expect(instance.address == gpu0.address)
      #expect(instance.gpus == ["GPU-gpu0"])
      #expect(instance.health == .healthy)
      #expect(instance.firstAnswerAfterSeconds != nil && instance.readyAfterSeconds != nil)
      #expect(status.queue.models.isEmpty)
    }
  }
}
