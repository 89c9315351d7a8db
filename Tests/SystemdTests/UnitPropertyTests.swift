import Testing

@testable import Systemd

@Suite struct UnitPropertyTests {
  @Test func argumentsKeepTheirDollars() {
    #expect(
      UnitProperty.execStart("/bin/x", ["$HOME", "a$$b", "", "100%"]).value
        == .array(
          of: "(sasb)",
          [
            .structure([
              .string("/bin/x"), .strings(["/bin/x", "$$HOME", "a$$$$b", "", "100%"]), .boolean(false),
            ])
          ]))
  }

  @Test func timesAreMicroseconds() {
    #expect(UnitProperty.timeoutStop(.milliseconds(1500)).value == .uint64(1_500_000))
    #expect(UnitProperty.timeoutStop(.seconds(-1)).value == .uint64(0))
    #expect(UnitProperty.timeoutStop(.seconds(Int64.max)).value == .uint64(.max))
  }

  @Test func listsOfPairsHaveTheirDBusTypes() {
    #expect(
      UnitProperty.deviceAllow([(path: "/dev/nvidia0", permissions: "rw")]).value
        == .array(of: "(ss)", [.structure([.string("/dev/nvidia0"), .string("rw")])]))
    #expect(
      UnitProperty.logExtraFields([(name: "POOL_GPU", value: "x=y")]).value
        == .array(of: "ay", [.bytes(Array("POOL_GPU=x=y".utf8))]))
    #expect(UnitProperty.deviceAllow([]).value.typeSignature == "a(ss)")
    #expect(
      UnitProperty.environment([(name: "A", value: "b c"), (name: "D", value: "")]).value == .strings(["A=b c", "D="]))
  }

  @Test func numbersAreBitsOfBytes() {
    #expect(UnitProperty.cpuAffinity([0, 9, 9, -1]).value == .bytes([1, 2]))
    #expect(UnitProperty.cpuAffinity([]).value == .bytes([]))
    #expect(UnitProperty.preferredMemory(ofNode: 8).map(\.value) == [.int32(1), .bytes([0, 1])])
  }

  @Test func addressesHaveTheirFamilyAndLength() {
    func range(_ family: Int32, _ bytes: [UInt8], _ length: UInt32) -> BusValue {
      .structure([.int32(family), .bytes(bytes), .uint32(length)])
    }
    let zeros = [UInt8](repeating: 0, count: 15)
    #expect(
      UnitProperty.denyAddresses(true)
        == UnitProperty("IPAddressDeny", .array(of: "(iayu)", [range(2, [0, 0, 0, 0], 0), range(10, zeros + [0], 0)])))
    #expect(
      UnitProperty.allowLoopback
        == UnitProperty(
          "IPAddressAllow", .array(of: "(iayu)", [range(2, [127, 0, 0, 0], 8), range(10, zeros + [1], 128)])))
    #expect(UnitProperty.denyAddresses(false).value == .array(of: "(iayu)", []))
  }

  @Test func mountUnitsAreNamedByTheirPaths() {
    for (path, name) in [
      ("/", "-.mount"), ("/srv", "srv.mount"), ("/srv/my-models", "srv-my\\x2dmodels.mount"),
      ("/.a/.b", "\\x2ea-.b.mount"), ("/a b/ü", "a\\x20b-\\xc3\\xbc.mount"), ("/tab\t", "tab\\x09.mount"),
    ] {
      #expect(MountUnit.name(at: path) == name)
      #expect(MountUnit.path(ofUnit: name) == path)
    }
    #expect(MountUnit.name(at: "//srv///x/") == "srv-x.mount")
    for name in ["srv.service", ".mount", "a\\x2.mount", "a\\y20.mount", "a\\", ""] {
      #expect(MountUnit.path(ofUnit: name) == nil, "\(name)")
    }
  }
}
