import CSystemd
import Glibc
import Testing

@testable import Systemd

/// Values go into a real sd-bus message and come out the same.
@Suite struct BusValueTests {
  /// A message of a bus that talks to nobody: one end of a socket pair is its daemon.
  private final class LooseMessage {
    private var bus: OpaquePointer?
    private(set) var message: OpaquePointer?
    private var ends: [Int32] = [-1, -1]

    init() throws {
      try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
      try #require(sd_bus_new(&bus) >= 0)
      try #require(sd_bus_set_fd(bus, ends[0], ends[0]) >= 0)
      try #require(sd_bus_start(bus) >= 0)
      try #require(sd_bus_message_new_signal(bus, &message, "/test", "test.Test", "Test") >= 0)
    }

    deinit {
      sd_bus_message_unref(message)
      sd_bus_close_unref(bus)
      close(ends[1])
    }
  }

  private func throughAMessage(_ values: [BusValue]) throws -> [BusValue] {
    let loose = try LooseMessage()
    let message = try #require(loose.message)
    for value in values { try BusMessage.append(value, to: message) }
    try #require(sd_bus_message_seal(message, 1, 0) >= 0)
    try #require(sd_bus_message_rewind(message, 1) >= 0)
    return try BusMessage.read(message)
  }

  @Test(
    arguments: [
      .byte(200), .boolean(true), .boolean(false), .int16(.min), .uint16(.max), .int32(-7), .uint32(.max), .int64(.min),
      .uint64(.max), .double(-0.5), .string("grüße"), .string(""), .objectPath("/a/b_2d"), .signature("a{sv}"),
      .bytes([0, 1, 255]), .bytes([]), .strings([]), .strings(["a", "b"]),
      .array(of: "(sasb)", [.structure([.string("/bin/x"), .strings(["/bin/x", "1"]), .boolean(false)])]),
      .array(of: "(iayu)", [.structure([.int32(2), .bytes([127, 0, 0, 0]), .uint32(8)])]),
      .array(of: "ay", [.bytes([65]), .bytes([])]),
      .array(of: "{sv}", [.dictionaryEntry(.string("k"), .variant(.structure([.boolean(true), .strings(["x"])])))]),
      .variant(.variant(.uint64(1))),
    ] as [BusValue])
  func everyValueSurvivesAMessage(_ value: BusValue) throws {
    #expect(try throughAMessage([value, .string("end")]) == [value, .string("end")])
  }

  @Test func aNULInAStringIsRefusedInsteadOfCuttingIt() throws {
    let error = #expect(throws: SystemdError.self) { try throughAMessage([.string("a\0b")]) }
    #expect(error?.code == .invalidArguments)
  }

  @Test func aMalformedPathIsRefused() throws {
    let error = #expect(throws: SystemdError.self) { try throughAMessage([.objectPath("no/slash")]) }
    #expect(error?.code == .invalidArguments)
  }

  @Test func numbersAreReadWhateverTheirWidthIfTheyFit() {
    #expect(BusValue.variant(.uint32(70_000)).integer(as: Int32.self) == 70_000)
    #expect(BusValue.uint32(70_000).integer(as: Int16.self) == nil)
    #expect(BusValue.string("1").integer(as: Int.self) == nil)
  }

  @Test func unitNamesAreEscapedInPathsAndBack() throws {
    let path = try UnitPath.encode("ollama-instance-gpu0.service")
    #expect(path == "/org/freedesktop/systemd1/unit/ollama_2dinstance_2dgpu0_2eservice")
    #expect(UnitPath.decode(path) == "ollama-instance-gpu0.service")
    #expect(UnitPath.decode("/somewhere/else") == nil)
    #expect(path.hasPrefix(try UnitPath.encode(prefix: "ollama-instance-")))
    #expect(try UnitPath.encode(prefix: "") == "/org/freedesktop/systemd1/unit/")
  }
}
