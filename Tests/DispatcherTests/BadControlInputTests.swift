import ControlInterface
import Glibc
import NIOPosix
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Dispatcher

@Suite(.timeLimit(.minutes(1)))
struct BadControlInputTests {
  /// A field with a value that can't be, and the path that the error names.
  private static let badInstances: [(String, JSONValue, String)] = [
    ("id", "", "instances[0].id"), ("id", "GPU0", "instances[0].id"), ("id", "gpu/0", "instances[0].id"),
    ("id", .string(String(repeating: "x", count: 33)), "instances[0].id"), ("id", 3, "instances[0].id"),
    ("invocation", "", "instances[0].invocation"), ("invocation", "a b", "instances[0].invocation"),
    ("invocation", .string(String(repeating: "x", count: 65)), "instances[0].invocation"),
    ("address", "127.0.0.1", "instances[0].address"), ("address", "127.0.0.1:0", "instances[0].address"),
    ("address", "127.0.0.1:65536", "instances[0].address"), ("address", "10.0.0.1:11500", "instances[0].address"),
    ("address", "localhost:11500", "instances[0].address"), ("address", "0.0.0.0:11500", "instances[0].address"),
    ("address", "127.0.0.1.example.org:80", "instances[0].address"), ("address", "", "instances[0].address"),
    ("slots", 0, "instances[0].slots"), ("slots", 1025, "instances[0].slots"), ("slots", -1, "instances[0].slots"),
    ("slots", "1", "instances[0].slots"),
    // Of a number that doesn't fit the decoder doesn't tell the place.
    ("slots", .double(1.5), "parameters"),
    ("role", "boss", "instances[0].role"), ("role", .null, "instances[0].role"),
    ("gpus", [""], "instances[0].gpus"), ("gpus", .array(Array(repeating: "g", count: 65)), "instances[0].gpus"),
    ("models", [""], "instances[0].models"), ("models", "m", "instances[0].models"),
    ("reason", .string(String(repeating: "x", count: 1025)), "instances[0].reason"),
  ]

  private static let good: [String: JSONValue] = [
    "id": "gpu0", "invocation": "i1", "address": "127.0.0.1:11500", "gpus": ["GPU-1"], "slots": 1, "models": [],
    "role": "core", "reason": "",
  ]

  private struct Set: Encodable { var instances: [JSONValue] }

  @Test func eachFieldThatCanNotBeIsNamedAndNothingChanges() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      for (field, value, path) in Self.badInstances {
        var instance = Self.good
        instance[field] = value
        try await expectInvalid(path, rig, .setInstances, Set(instances: [.object(instance)]))
        instance[field] = nil
        try await expectInvalid("instances[0].\(field)", rig, .setInstances, Set(instances: [.object(instance)]))
      }
      #expect(try await rig.queue().instances.map(\.address) == [gpu0.address])
      #expect(rig.supervisor.isOpen, "the connection goes on")
    }
  }

  @Test func twoInstancesMayNotShareANameOrAnAddress() async throws {
    try await DispatcherRig.run { rig in
      var second = Self.good
      second["address"] = "127.0.0.1:11501"
      try await expectInvalid(
        "instances[1].id", rig, .setInstances, Set(instances: [.object(Self.good), .object(second)]))
      second = Self.good
      second["id"] = "gpu1"
      try await expectInvalid(
        "instances[1].address", rig, .setInstances, Set(instances: [.object(Self.good), .object(second)]))
    }
  }

  @Test func moreInstancesThanTheBoundAreRefused() async throws {
    try await DispatcherRig.run { rig in
      let many = (0...Placement.most).map { number in
        JSONValue.object(
          Self.good.merging(["id": .string("i\(number)"), "address": .string("127.0.0.1:\(12_000 + number)")]) { $1 })
      }
      try await expectInvalid("instances", rig, .setInstances, Set(instances: many))
      try await rig.supervisor.order(.setInstances, Set(instances: Array(many.dropLast())))
      #expect(try await rig.queue().instances.count == Placement.most)
    }
  }

  @Test func theOtherMethodsNameTheirFieldsToo() async throws {
    try await DispatcherRig.run { rig in
      let bad: [(DispatcherInterface.Method, [String: JSONValue], String)] = [
        (.reportFleet, ["desired": -1, "backingOff": 0, "quarantined": 0, "cordoned": 0], "desired"),
        (.reportFleet, ["desired": 1, "backingOff": 0, "quarantined": 0, "cordoned": -1], "cordoned"),
        (.reportFleet, Self.fleet(["degraded": -1]), "degraded"),
        (.reportFleet, Self.fleet(["degradations": -1]), "degradations"),
        (.reportFleet, Self.fleet(["gpus": .array(Array(repeating: Self.gpu(), count: 257))]), "gpus"),
        (.reportFleet, Self.fleet(["gpus": [Self.gpu(), Self.gpu()]]), "gpus[1].name"),
        (.reportFleet, Self.fleet(["gpus": [Self.gpu(["name": "a b"])]]), "gpus[0].name"),
        (.reportFleet, Self.fleet(["gpus": [Self.gpu(["state": "hot"])]]), "gpus[0].state"),
        (.reportFleet, Self.fleet(["gpus": [Self.gpu(["memoryOursBytes": -1])]]), "gpus[0].memoryOursBytes"),
        (
          .reportFleet, Self.fleet(["gpus": [Self.gpu(["faults": [["kind": "lost", "count": -1]]])]]),
          "gpus[0].faults[0].count"
        ),
        (
          .reportFleet, Self.fleet(["gpus": [Self.gpu(["faults": [["kind": "", "count": 1]]])]]),
          "gpus[0].faults[0].kind"
        ),
        (
          .reportFleet,
          Self.fleet(["gpus": [Self.gpu(["faults": .array((0..<33).map { ["kind": .string("\($0)"), "count": 1] })])]]),
          "gpus[0].faults"
        ),
        (.reportFleet, ["desired": 1], "backingOff"), (.setInstances, [:], "instances"),
        (.setInstances, ["instances": [], "awaitingTurn": [""]], "awaitingTurn"),
        (
          .setInstances, ["instances": [], "awaitingTurn": .array(Array(repeating: "m", count: 257))], "awaitingTurn"
        ),
        (.setInstances, ["instances": [], "awaitingTurn": "m"], "awaitingTurn"),
        (.retireInstance, ["id": "GPU", "invocation": "i"], "id"), (.retireInstance, ["id": "gpu0"], "invocation"),
        (.retireInstance, ["id": "gpu0", "invocation": ""], "invocation"),
        (.reportQueueDepth, ["frontEnd": "", "depth": 1], "frontEnd"),
        (.reportQueueDepth, ["frontEnd": .string(String(repeating: "x", count: 65)), "depth": 1], "frontEnd"),
        (.reportQueueDepth, ["frontEnd": "f", "depth": -1], "depth"), (.reportQueueDepth, ["frontEnd": "f"], "depth"),
        (.reportQueueDepth, ["frontEnd": "f", "depth": 1, "oldestWaitSeconds": -1], "oldestWaitSeconds"),
        (.reportQueueDepth, ["frontEnd": "f", "depth": 1, "oldestWaitSeconds": .double(1e300)], "oldestWaitSeconds"),
        (.cancelRequest, ["id": -1], "parameters"), (.cancelRequest, ["id": "1"], "id"), (.cancelRequest, [:], "id"),
      ]
      for (method, parameters, path) in bad { try await expectInvalid(path, rig, method, parameters) }
    }
  }

  private static func fleet(_ others: [String: JSONValue]) -> [String: JSONValue] {
    others.merging(["desired": 1, "backingOff": 0, "quarantined": 0, "cordoned": 0]) { one, _ in one }
  }

  private static func gpu(_ others: [String: JSONValue] = [:]) -> JSONValue {
    .object(others.merging(["name": "gpu0", "state": "free", "faults": []]) { one, _ in one })
  }

  @Test func whatIsNoVarlinkClosesThatConnectionAlone() async throws {
    try await DispatcherRig.run { rig in
      let raw = try await HTTPProbe.connect(unixSocket: rig.socket)
      try await raw.send(raw: "this is no JSON\0")
      #expect(try await raw.readUntilClosed().isEmpty)
      #expect(try await rig.queue().depth == 0)
    }
  }

  @Test func aMethodThatIsNotThereIsAnError() async throws {
    try await DispatcherRig.run { rig in
      let error = await #expect(throws: VarlinkError.self) {
        _ = try await rig.supervisor.call("ollamapool.Dispatcher.Nothing", as: NoParameters.self)
      }
      #expect(error?.code == .remote(.methodNotFound("ollamapool.Dispatcher.Nothing")))
    }
  }

  private func expectInvalid(
    _ path: String, _ rig: DispatcherRig, _ method: DispatcherInterface.Method, _ parameters: some Encodable,
    location: SourceLocation = #_sourceLocation
  ) async throws {
    do {
      try await rig.supervisor.order(method, parameters)
      Issue.record("\(method) accepted a bad \(path)", sourceLocation: location)
    } catch let error as VarlinkError {
      #expect(error.code == .remote(.invalidParameter(path)), sourceLocation: location)
    }
  }
}
