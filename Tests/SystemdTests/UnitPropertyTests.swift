import Glibc
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

  @Test func numbersBecomeBitMasks() {
    #expect(UnitProperty.cpuAffinity([0, 3, 9]).value == .bytes([0b1001, 0b10]))
    #expect(UnitProperty.numaMask([]).value == .bytes([0]))
    #expect(UnitProperty.cpuAffinity([-1, 8]).value == .bytes([0, 1]))
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
    #expect(
      UnitProperty.ipAddressAllow(IPPrefix.loopback).value
        == .array(
          of: "(iayu)",
          [
            .structure([.int32(AF_INET), .bytes([127, 0, 0, 0]), .uint32(8)]),
            .structure([.int32(AF_INET6), .bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), .uint32(128)]),
          ]))
    #expect(UnitProperty.deviceAllow([]).value.typeSignature == "a(ss)")
    #expect(
      UnitProperty.environment([(name: "A", value: "b c"), (name: "D", value: "")]).value == .strings(["A=b c", "D="]))
  }
}
