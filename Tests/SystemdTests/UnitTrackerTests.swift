import Testing

@testable import Systemd

@Suite struct UnitTrackerTests {
  private let service = "org.freedesktop.systemd1.Service"
  private let unit = "org.freedesktop.systemd1.Unit"

  @Test func theTwoSignalsOfOneChangeAreOneChange() {
    var tracker = UnitTracker()
    #expect(
      tracker.propertiesChanged(
        of: "a.service", interface: service,
        ["MainPID": .uint32(42), "Result": .string("success"), "ExecMainStatus": .int32(0)]) == nil)
    let change = tracker.propertiesChanged(
      of: "a.service", interface: unit,
      [
        "ActiveState": .string("active"), "SubState": .string("running"),
        "InvocationID": .bytes(Array(0..<16)),
      ])
    var expected = UnitState(name: "a.service")
    expected.update(from: [
      "ActiveState": .string("active"), "SubState": .string("running"), "MainPID": .uint32(42),
      "Result": .string("success"), "InvocationID": .bytes(Array(0..<16)),
    ])
    #expect(change == .changed(expected))
    #expect(expected.invocationID == "000102030405060708090a0b0c0d0e0f")
    #expect(expected.mainPID == 42)
  }

  @Test func repeatedStatesAreToldOnce() {
    var tracker = UnitTracker()
    let running: [String: BusValue] = ["ActiveState": .string("active"), "SubState": .string("running")]
    #expect(tracker.propertiesChanged(of: "a.service", interface: unit, running) != nil)
    #expect(tracker.propertiesChanged(of: "a.service", interface: unit, running) == nil)
    #expect(tracker.propertiesChanged(of: "b.service", interface: unit, running) != nil)
    tracker.reset()
    #expect(tracker.propertiesChanged(of: "a.service", interface: unit, running) != nil)
  }

  @Test func aRemovedUnitIsToldOnceAndOnlyIfItWasSeen() {
    var tracker = UnitTracker()
    #expect(tracker.removed("a.service") == nil)
    _ = tracker.propertiesChanged(of: "a.service", interface: unit, ["ActiveState": .string("failed")])
    #expect(tracker.removed("a.service") == .removed(name: "a.service"))
    #expect(tracker.removed("a.service") == nil)
  }

  @Test func aSlowReaderLearnsThatChangesWereDropped() async {
    let (stream, continuation) = AsyncStream.makeStream(of: UnitChange.self, bufferingPolicy: .bufferingNewest(4))
    for number in 1...4 { continuation.tell(.removed(name: "\(number)")) }
    continuation.tell(.removed(name: "5"))
    continuation.tell(.removed(name: "6"))
    continuation.finish()
    let seen = await stream.reduce(into: []) { $0.append($1) }
    #expect(seen == [.removed(name: "5"), .overflowed, .removed(name: "6"), .overflowed])
  }

  @Test func valuesThatMeanNothingBecomeNil() {
    let status = UnitStatus(
      name: "a.service",
      properties: [
        "MainPID": .uint32(0), "InvocationID": .bytes([]), "ActiveEnterTimestampMonotonic": .uint64(0),
        "Environment": .strings(["A=b", "C=d e"]), "ActiveState": .string("refreshing"),
      ])
    #expect(status.state.mainPID == nil)
    #expect(status.state.invocationID == nil)
    #expect(status.activeEnterTimestampMonotonic == nil)
    #expect(status.environment == ["A=b", "C=d e"])
    #expect(status.state.activeState == .other("refreshing"))
  }
}
