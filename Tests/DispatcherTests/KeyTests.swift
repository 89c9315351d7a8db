import ControlInterface
import PoolConfiguration
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Dispatcher

/// API keys, as the control socket makes and revokes them.
@Suite(.timeLimit(.minutes(2)))
struct KeyTests {
  private func refusal(
    of order: some Encodable, _ rig: DispatcherRig, _ method: DispatcherInterface.Method = .addKey
  ) async throws -> VarlinkErrorReply {
    let error = try await #require(throws: VarlinkError.self) { try await rig.supervisor.order(method, order) }
    guard case .remote(let reply) = error.code else { throw error }
    return reply
  }

  @Test func aKeyIsListedWithWhatIsInForceAndNeverShownAgain() async throws {
    try await DispatcherRig.run { rig in
      #expect(try await rig.keys().isEmpty)
      let first = try await rig.addKey("shop", className: "free")
      let second = try await rig.addKey(
        "ann.o@example.org", role: .administrator, requestsPerHour: 7, tokensPerHour: 8, concurrent: 9, waiting: 10)
      #expect(first != second && first.hasPrefix("sk-pool-"))
      let keys = try await rig.keys()
      #expect(keys.map(\.name) == ["shop", "ann.o@example.org"] && Set(keys.map(\.id)).count == 2)
      #expect(keys.map(\.role) == [.user, .administrator] && keys.map(\.class) == ["free", "standard"])
      #expect(keys.map(\.requestsPerHour) == [10, 7] && keys.map(\.tokensPerHour) == [nil, 8])
      #expect(keys.map(\.concurrent) == [nil, 9] && keys.map(\.waiting) == [nil, 10])
      #expect(keys.allSatisfy { (0...60).contains($0.createdSecondsAgo) })
      try await rig.waitForJournal("has made the API key shop (\(keys[0].id)), of the class free")
      try await rig.waitForJournal("ann.o@example.org (\(keys[1].id)), of the class standard, for an administrator")

      #expect(try await rig.revokeKey(keys[1].id) == "ann.o@example.org")
      #expect(try await rig.revokeKey("shop") == "shop")
      #expect(try await rig.keys().isEmpty)
      try await rig.waitForJournal("has revoked the API key shop (\(keys[0].id))")
      for secret in [first, second] { #expect(!rig.journalText.contains(secret.dropFirst(8))) }
    }
  }

  @Test func whatCanNotBeIsRefusedAndChangesNothing() async throws {
    try await DispatcherRig.run { rig in
      let made = try await rig.addKey("shop")
      for name in ["", "-x", ".x", "a b", "ä", "a/b", "a\n", String(repeating: "x", count: 65)] {
        let refused = try await refusal(of: DispatcherCalls.AddKey(name: name), rig)
        #expect(refused == .invalidParameter("name"), "\(name)")
      }
      for limit in [0, -1, 1_000_000_001] {
        for (order, name) in [
          (DispatcherCalls.AddKey(name: "x", requestsPerHour: limit), "requestsPerHour"),
          (DispatcherCalls.AddKey(name: "x", tokensPerHour: limit), "tokensPerHour"),
          (DispatcherCalls.AddKey(name: "x", concurrent: limit), "concurrent"),
          (DispatcherCalls.AddKey(name: "x", waiting: limit), "waiting"),
        ] {
          let refused = try await refusal(of: order, rig)
          #expect(refused == .invalidParameter(name), "\(limit)")
        }
      }
      let unknown = try await refusal(of: DispatcherCalls.AddKey(name: "x", className: "gold"), rig)
      #expect(unknown.name == ControlError.unknownClass)
      #expect(unknown.parameters == ["class": "gold", "known": ["enterprise", "free", "standard"]])
      let id = try #require(try await rig.keys().first).id
      for taken in ["shop", id] {
        let refused = try await refusal(of: DispatcherCalls.AddKey(name: taken), rig)
        #expect(refused == VarlinkErrorReply(ControlError.keyNameTaken, ["name": .string(taken)]))
      }
      let almost = String(made.dropLast())
      let missing = try await refusal(of: DispatcherCalls.RevokeKey(key: almost), rig, .revokeKey)
      #expect(missing == VarlinkErrorReply(ControlError.noSuchKey, ["key": .string(almost)]))
      #expect(try await rig.keys().map(\.name) == ["shop"])
    }
  }

  @Test func ofSeveralOrdersAtOnceForOneNameOneIsCarriedOut() async throws {
    try await DispatcherRig.run { rig in
      // Each on a connection of its own: else the next is taken up when the one before is answered.
      let made = try await withThrowingTaskGroup(of: Bool.self) { group in
        for _ in 0..<8 {
          let client = try await rig.client()
          group.addTask {
            let reply = try? await client.call(
              DispatcherInterface.Method.addKey.qualified, DispatcherCalls.AddKey(name: "shop"),
              as: DispatcherCalls.AddKeyReply.self, timeout: .seconds(10))
            return reply != nil
          }
        }
        return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
      }
      #expect(made == 1)
      #expect(try await rig.keys().count == 1)
    }
  }

  @Test func keysOutliveTheDispatcherAndSoDoesTheirEnd() async throws {
    let state = try TemporaryDirectory()
    var (kept, revoked) = ("", "")
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
      kept = try await rig.addKey("kept", className: "free", waiting: 3)
      revoked = try await rig.addKey("revoked")
      try await rig.revokeKey("revoked")
    }
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
      let keys = try await rig.keys()
      #expect(keys.map(\.name) == ["kept"])
      #expect(keys.first?.class == "free")
      #expect(keys.first?.waiting == 3)
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      #expect(try await rig.serve(gpu0, 0, key: kept).status == 200)
      #expect(try await rig.status(key: revoked) == 401)
      // The name is free again.
      #expect(try await rig.addKey("revoked") != revoked)
    }
    // A class that the configuration has no longer.
    try await DispatcherRig.run({ $0.classes["free"] = nil }, options: { $0.stateFolder = state.path }) { rig in
      let key = try #require(try await rig.keys().first)
      #expect(key.class == "standard")
    }
  }
}
