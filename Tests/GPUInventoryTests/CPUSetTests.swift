import Testing

@testable import GPUInventory

@Suite struct CPUSetTests {
  @Test(
    "a list of the kernel's is read, and shown alike",
    arguments: [("0", [0]), ("0-3,8-11", [0, 1, 2, 3, 8, 9, 10, 11]), ("7,2,2-3", [2, 3, 7]), ("8191", [8191])])
  func lists(text: String, numbers: [Int]) throws {
    let set = try #require(CPUSet(list: text))
    #expect(set.numbers == numbers)
    #expect(CPUSet(list: set.description) == set)
  }

  @Test(
    "nonsense lists no CPU, and takes no memory",
    arguments: [
      "", ",", "-", "1-", "-1", "3-1", "1--2", "1-2-3", "0x3", "a", "+1", " 1", "1.5", "8192", "0-8192",
      "0-99999999999",
      "99999999999999999999999", "0,", "٣",
    ])
  func nonsense(text: String) {
    #expect(CPUSet(list: text) == nil)
  }

  @Test("numbers that no CPU can have are left out")
  func impossible() {
    #expect(CPUSet([-1, 5, 8192, .max, .min]).numbers == [5])
  }

  @Test("two sets make one")
  func union() {
    #expect(CPUSet([0, 1]).union(CPUSet([1, 2, 9])).description == "0-2,9")
  }
}
