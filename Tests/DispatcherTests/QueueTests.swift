import ControlInterface
import Foundation
import PoolConfiguration
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Dispatcher

@Suite(.timeLimit(.minutes(2)))
struct QueueTests {
  @Test func eightRequestsOnOneInstanceAreServedInTheOrderOfArrival() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let clients = try await sendEight(rig)
      for number in 0..<8 {
        let asked = try await gpu0.ask(number)
        #expect(asked.body.contains("\"prompt\":\"\(number)\""), "first in is first out")
        #expect(gpu0.asked.count == number + 1, "one slot, one request")
        try await asked.serve()
        #expect(try await clients[number].answer().text.contains("\"done\":true"))
      }
      try await rig.wait("all is counted") { $0.arrivals == 8 && $0.completions == 8 && $0.inFlight == 0 }
    }
  }

  @Test func whoWaitsIsToldHowManyMustGoFirstAndHowLongThatTakes() async throws {
    try await DispatcherRig.run({ $0.queue.assumedService = .seconds(9) }) { rig in
      let gpu0 = try await FakeOllama.start()
      // Nothing runs: one instance will be started, for the first of them.
      let first = try await rig.generate("0")
      try await rig.waitForDepth(1)
      let alone = try #require(try await rig.requests().first)
      #expect(alone.position == 1 && alone.etaSeconds ?? 0 > 15)
      try await rig.use(gpu0)
      let asked = try await gpu0.ask(0)
      let others = [try await rig.generate("1"), try await rig.generate("2")]
      try await rig.waitForDepth(2)
      let guessed = try await rig.requests()
      #expect(guessed.map(\.position) == [nil, 2, 3] && guessed.map(\.etaSeconds) == [nil, 9, 18])
      #expect(guessed.allSatisfy { ($0.etaP90Seconds ?? 0) >= ($0.etaSeconds ?? 0) })
      try await asked.serve()
      #expect(try await first.answer().status == 200)
      let running = try await gpu0.ask(1)
      // From now on it goes by what was served, which took no time.
      let known = try await rig.requests()
      #expect(guessed.map(\.etaIsGuess) == [nil, true, true] && known.map(\.etaIsGuess) == [nil, false])
      #expect(known.map(\.position) == [nil, 2] && (known.last?.etaSeconds ?? 99) < 8)
      try await running.serve()
      try await gpu0.ask(2).serve()
      for client in others { #expect(try await client.answer().status == 200) }
    }
  }

  @Test func aQuestionIsListedMovedAndCancelledByTheNameThatItsClientKnows() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let running = try await rig.generate()
      let asked = try await gpu0.ask(0)
      let order = #"{"message":"hello","model":"m"}"#
      let chat = try await rig.send("POST", "/chat/stream", body: order)
      try await gpu0.ask(1).answer(#"{"models":[{"name":"m"}]}"#)
      let name = try #require(try await chat.head()["X-Request-Id"])
      let other = try await rig.generate()
      try await rig.waitForDepth(2)
      #expect(try await rig.requests().map(\.requestID) == [nil, name, nil])

      let question = DispatcherCalls.RequestReference.requestID(name)
      try await rig.supervisor.order(.setPriority, DispatcherCalls.SetPriority(question, priority: 9))
      #expect(try await rig.requests().map(\.position) == [nil, 3, 2])
      // Its client is cut off.
      await chat.close()
      try await eventually("it is suspended") { try await rig.requests().map(\.suspended) == [false, true, false] }
      let queue = try await rig.get("/queue").text
      #expect(queue.contains("\"request_id\":\"\(name)\",\"state\":\"suspended\""), "\(queue)")
      try await rig.supervisor.order(.cancelRequest, DispatcherCalls.CancelRequest(question))
      #expect(try await rig.requests().count == 2)
      let again = try await #require(throws: VarlinkError.self) {
        try await rig.supervisor.order(.cancelRequest, DispatcherCalls.CancelRequest(question))
      }
      #expect("\(again)".contains("NoSuchRequest") && "\(again)".contains(name))
      let both = #"{"id":1,"requestID":"a"}"#
      let unclear = try await #require(throws: VarlinkError.self) {
        try await rig.supervisor.order(.cancelRequest, try JSONDecoder().decode(JSONValue.self, from: Data(both.utf8)))
      }
      #expect("\(unclear)".contains("InvalidParameter"))
      for number in [0, 2] { try await (number == 0 ? asked : gpu0.ask(number)).serve() }
      for client in [running, other] { #expect(try await client.answer().status == 200) }
    }
  }

  /// Waits until each is in before the next is sent, so that the order of arrival is known.
  private func sendEight(_ rig: DispatcherRig) async throws -> [HTTPProbe] {
    var clients: [HTTPProbe] = []
    for number in 0..<8 {
      clients.append(try await rig.generate("\(number)"))
      try await rig.wait("\(number + 1) have arrived") { $0.depth + $0.inFlight == number + 1 }
    }
    return clients
  }

  @Test func eachInstanceThatJoinsTakesTheFirstInTheQueueAndRaisesMaxConcurrent() async throws {
    try await DispatcherRig.run { rig in
      var instances: [FakeOllama] = []
      for number in 0..<4 { instances.append(try await FakeOllama.start("gpu\(number)")) }
      let pushes = try await rig.watchQueue()
      let clients = try await sendEight(rig)
      try await pushes.wait("the depth is told") { $0.last?.queue.depth == 8 }

      for count in 1...4 {
        try await rig.setInstances(instances.prefix(count).map { DispatcherRig.wanted($0) })
        let asked = try await instances[count - 1].ask()
        #expect(asked.body.contains("\"prompt\":\"\(count - 1)\""))
        try await rig.waitForCapacity(count)
        #expect(try await rig.queue().depth == 8 - count)
      }
      try await pushes.wait("all four are told") { $0.last?.queue.maxConcurrent == 4 }
      let told = pushes.all.map(\.queue.maxConcurrent)
      #expect(told == told.sorted(), "it only grew: \(told)")

      for round in 0..<2 {
        for (number, instance) in instances.enumerated() {
          let asked = try await instance.ask(round)
          if round == 1 { #expect(asked.body.contains("\"prompt\":\"\(number + 4)\"")) }
          try await asked.serve()
          #expect(try await clients[round * 4 + number].answer().text.contains("\"done\":true"))
        }
      }
    }
  }

  @Test func anInstanceWithSeveralSlotsIsGivenAsMany() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.setInstances([DispatcherRig.wanted(gpu0, slots: 3)])
      try await rig.waitForCapacity(3)
      let clients = try await sendEight(rig)
      _ = try await gpu0.ask(2)
      #expect(try await rig.queue().depth == 5)
      #expect(gpu0.asked.count == 3)
      // Three connections: which is seen first is open.
      let second = try #require(gpu0.asked.first { $0.body.contains("\"prompt\":\"1\"") })
      try await second.serve()
      #expect(try await clients[1].answer().status == 200)
      #expect(try await gpu0.ask(3).body.contains("\"prompt\":\"3\""))
    }
  }

  @Test func surplusGetsWorkOnlyWhenTheCoreIsFull() async throws {
    try await DispatcherRig.run { rig in
      let (core, surplus) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      try await rig.setInstances([DispatcherRig.wanted(surplus, role: .surplus), DispatcherRig.wanted(core)])
      try await rig.waitForCapacity(2)
      let first = try await rig.generate()
      try await core.ask(0).serve()
      #expect(try await first.answer().status == 200)
      let second = try await rig.generate()
      _ = try await core.ask(1)
      #expect(surplus.asked.isEmpty)
      let third = try await rig.generate()
      try await surplus.ask(0).serve()
      #expect(try await third.answer().status == 200)
      try await core.ask(1).serve()
      #expect(try await second.answer().status == 200)
    }
  }

  @Test func anInstanceKeptForModelsIsAskedForNoOther() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.setInstances([DispatcherRig.wanted(gpu0, models: ["Llama3"])])
      try await rig.waitForCapacity(1)
      let other = try await rig.generate(model: "other")
      try await rig.waitForDepth(1)
      let fits = try await rig.generate(model: "llama3:latest")
      try await gpu0.ask(0).serve()
      #expect(try await fits.answer().status == 200)
      #expect(try await rig.queue().models.map(\.model) == ["other:latest"])
      await other.close()
    }
  }

  @Test(arguments: Spoken.allCases)
  func aFullQueueRefusesInTheCallersDialectAndSaysWhenToComeAgain(_ spoken: Spoken) async throws {
    try await DispatcherRig.run {
      $0.queue.requests = 1
    } _: { rig in
      let waiting = try await rig.generate()
      try await rig.waitForDepth(1)
      let answer = try await HTTPProbe.exchange("POST", spoken.path, port: rig.port, body: spoken.body)
      #expect(answer.status == 503)
      #expect(answer.head["Retry-After"] == "10")
      let message = try #require(spoken.errorMessage(answer.text), "not in the dialect: \(answer.text)")
      #expect(message.contains("queue is full"))
      try await rig.waitForJournal("the queue is full")
      await waiting.close()
      try await rig.waitForDepth(0)
    }
  }

  @Test func whoeverWaitsLongerThanTheMaximumIsToldSo() async throws {
    try await DispatcherRig.run {
      $0.queue.maximumWait = .milliseconds(200)
    } _: { rig in
      let answer = try await rig.generate().answer()
      #expect(answer.status == 503)
      #expect(answer.text.contains("too busy"))
      #expect(answer.head["Retry-After"] != nil)
    }
  }

  @Test func aPipelinedClientIsServedOneAfterTheOther() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let client = try await rig.connect()
      let body = #"{"model":"m","prompt":"x"}"#
      try await client.send("POST", "/api/generate", body: body)
      try await client.send("POST", "/api/generate", body: body)
      for number in 0..<2 {
        try await gpu0.ask(number).serve()
        #expect(try await client.answer().text.contains("\"done\":true"))
      }
    }
  }
}
