import PoolCore
import Testing

@Suite struct XIDErrorTests {
  @Test(
    "a program's own fault leaves the GPU alone",
    arguments: [8, 11, 13, 25, 31, 32, 39, 43, 44, 60, 66, 68, 69, 74, 80, 94, 135, 139])
  func applications(code: Int) {
    #expect(XIDError(code: code).consequence == .application)
  }

  @Test(
    "what the catalog answers with a reset or a restart takes the GPU out",
    arguments: [46, 48, 54, 61, 62, 64, 79, 95, 109, 110, 119, 120, 136, 140, 143, 151, 155, 156, 158, 159])
  func resets(code: Int) {
    #expect(XIDError(code: code).consequence == .resetNeeded)
  }

  @Test(
    "what the catalog ignores, or what another error comes with, is told, and no more",
    arguments: [37, 38, 45, 63, 92, 93, 106, 121, 137, 154, 157, 160])
  func warnings(code: Int) {
    #expect(XIDError(code: code).consequence == .warning)
  }

  @Test(
    "a number that nobody knows costs the instance its health, and not the pool its GPUs",
    arguments: [0, -1, 1, 999, .max])
  func unknown(code: Int) {
    let error = XIDError(code: code)
    #expect(error.consequence == .application && error.code == code)
    #expect(error.description == "XID \(code): not in the pool's table")
  }

  @Test("each has a name and an explanation, as a part of a sentence")
  func texts() {
    #expect(XIDError(code: 79).description == "XID 79: GPU has fallen off the bus")
    #expect(XIDError.codes.count > 100)
    for code in XIDError.codes {
      let error = XIDError(code: code)
      #expect(!error.name.isEmpty && error.explanation.count > 10 && !error.explanation.hasSuffix("."), "\(code)")
    }
  }
}
