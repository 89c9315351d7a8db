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
}
