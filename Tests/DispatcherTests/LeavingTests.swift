import ControlInterface
import PoolConfiguration
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Dispatcher

@Suite(.timeLimit(.minutes(2)))
struct LeavingTests {
  @Test func aClientThatLeavesFreesItsSlotAndEndsTheGeneration() async throws {
    try await withOne { rig, gpu0 in
      let leaving = try await rig.generate("leaving")
      let asked = try await gpu0.ask(0)
      try await asked.begin()
      _ = try await leaving.head()
      let waiting = try await rig.generate("waiting")
      try await rig.waitForDepth(1)
      await leaving.close()
      try await asked.waitUntilClosed()
      try await gpu0.ask(1).serve()
      #expect(try await waiting.answer().status == 200)
      #expect(try await rig.metric("ollama_pool_requests_total{outcome=\"cancelled\"}") == 1)
    }
  }

  @Test func aWaitingClientThatLeavesFreesItsPlace() async throws {
    try await withOne { rig, gpu0 in
      let staying = try await rig.generate("running")
      let running = try await gpu0.ask(0)
      let leaving = try await rig.generate("leaving")
      try await rig.waitForDepth(1)
      let next = try await rig.generate("next")
      try await rig.waitForDepth(2)
      await leaving.close()
      try await rig.waitForDepth(1)
      try await running.serve()
      #expect(try await gpu0.ask(1).body.contains("\"prompt\":\"next\""))
      #expect(try await staying.answer().status == 200)
      await next.close()
    }
  }

  @Test(arguments: Spoken.allCases)
  func anOperatorMayCancelAWaitingRequest(_ spoken: Spoken) async throws {
    try await DispatcherRig.run { rig in
      let client = try await rig.connect()
      try await client.send("POST", spoken.path, body: spoken.body)
      try await rig.waitForDepth(1)
      let request = try #require(try await rig.requests().first)
      #expect(request.path == spoken.path)
      #expect(request.position == 1)
      try await rig.supervisor.order(.cancelRequest, DispatcherCalls.CancelRequest(.id(request.id)))
      let answer = try await client.answer()
      #expect(answer.status == 499)
      #expect(spoken.errorMessage(answer.text)?.contains("operator") == true)
      #expect(try await rig.queue().depth == 0)
      try await rig.waitForJournal("request \(request.id) (POST \(spoken.path)) was cancelled by user")
    }
  }

  @Test func anOperatorMayCancelARunningRequestWhichFreesItsSlot() async throws {
    try await withOne { rig, gpu0 in
      let client = try await rig.generate()
      let asked = try await gpu0.ask(0)
      try await asked.begin()
      _ = try await client.head()
      let request = try #require(try await rig.requests().first)
      #expect(request.begun)
      #expect(request.instance == "gpu0")
      #expect(request.position == nil)
      try await rig.supervisor.order(.cancelRequest, DispatcherCalls.CancelRequest(.id(request.id)))
      try await asked.waitUntilClosed()
      var text = ""
      while let piece = try await client.piece() { text += piece.text }
      #expect(Spoken.ollama.errorMessage(endOf: text)?.contains("operator") == true)
      #expect(try await rig.queue().inFlight == 0)
    }
  }

  @Test func aRequestThatIsNotThereCanNotBeCancelled() async throws {
    try await DispatcherRig.run { rig in
      let error = await #expect(throws: VarlinkError.self) {
        try await rig.supervisor.order(.cancelRequest, DispatcherCalls.CancelRequest(.id(99)))
      }
      #expect(error?.code == .remote(VarlinkErrorReply(ControlError.noSuchRequest, ["id": 99])))
    }
  }

  @Test func ofVeryManyRequestsTheFirstAreListedAndADrainRefusesThemAll() async throws {
    try await DispatcherRig.run { rig in
      var clients: [HTTPProbe] = []
      for _ in 0..<DispatcherCalls.ListRequestsReply.most + 50 { clients.append(try await rig.generate()) }
      try await rig.waitForDepth(clients.count)
      let requests = try await rig.requests()
      #expect(requests.map(\.position) == (1...DispatcherCalls.ListRequestsReply.most).map { $0 })
      #expect(requests.allSatisfy { $0.model == "m:latest" && $0.client.hasPrefix("127.0.0.1:") })
      #expect(requests.map(\.id) == requests.map(\.id).sorted())

      let drain = Task { await rig.daemon.drain(within: .seconds(60)) }
      for client in clients { #expect(try await client.answer().status == 503) }
      for client in clients { await client.close() }
      await drain.value
      #expect(try await rig.metric("ollama_pool_refusals_total{reason=\"shutting_down\"}") == Double(clients.count))
      let told = rig.journalText.split(separator: "\n").filter { $0.contains("the pool is stopping") }
      #expect(told.count <= 2, "a storm is a few lines")
    }
  }

  private func withOne(_ body: (DispatcherRig, FakeOllama) async throws -> Void) async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      try await body(rig, gpu0)
    }
  }
}
