import PoolCore
import Testing

@Suite struct GPUGroupsTests {
  /// Six places: on two NUMA nodes, each with two switches below one root complex, and another root complex.
  private static let places: [(node: Int, path: [String])] = [0, 1].flatMap { node in
    [["a", "x"], ["a", "y"], ["b"]].map { (node, $0.map { "\(node)\($0)" }) }
  }

  private static func gpus(at places: [Int]) -> [GPULocation] {
    places.enumerated().map { number, place in
      let (node, path) = Self.places[place]
      return GPULocation(uuid: "GPU-\(number)", number: number, numaNode: node, pciPath: path + ["\(number)"])
    }
  }

  /// All ways to put so many GPUs into the places.
  private static func ways(_ count: Int) -> [[Int]] {
    count == 0 ? [[]] : ways(count - 1).flatMap { way in places.indices.map { way + [$0] } }
  }

  private static func permutations(of gpus: [GPULocation]) -> [[GPULocation]] {
    guard gpus.count > 1 else { return [gpus] }
    return gpus.indices.flatMap { index in
      var rest = gpus
      let first = rest.remove(at: index)
      return permutations(of: rest).map { [first] + $0 }
    }
  }

  /// The parts of the machine that a GPU is in, from the whole down.
  private static func parts(of gpu: GPULocation) -> [[String]] {
    let path = ["\(gpu.numaNode ?? -1)"] + gpu.pciPath
    return (0...path.count).map { Array(path.prefix($0)) }
  }

  @Test func inEverySmallMachineEachPartFormsAllTheGroupsThatItCanWhateverTheOrder() {
    for count in 0...4 {
      for way in Self.ways(count) {
        let gpus = Self.gpus(at: way)
        for size in 1...4 {
          let divided = GPUGroups(gpus, of: size)
          let grouped = divided.groups.flatMap(\.gpus)
          #expect(Set(grouped).count == grouped.count && divided.groups.allSatisfy { $0.gpus.count == size })
          #expect(Set(grouped + divided.leftOver.map(\.uuid)) == Set(gpus.map(\.uuid)))
          for part in Set(gpus.flatMap(Self.parts)) {
            let inside = Set(gpus.filter { Self.parts(of: $0).contains(part) }.map(\.uuid))
            let formed = divided.groups.count { inside.isSuperset(of: $0.gpus) }
            let passedUp = inside.count - formed * size
            #expect(passedUp < size, "\(way): \(part) passes \(passedUp) up, which would be a group of \(size)")
          }
          #expect(Self.permutations(of: gpus).allSatisfy { GPUGroups($0, of: size) == divided }, "\(way), \(size)")
        }
      }
    }
  }

  @Test func whatAGroupHasInCommonIsSaid() {
    func reason(_ places: Int...) -> String? { GPUGroups(Self.gpus(at: places), of: places.count).groups.first?.reason }
    #expect(reason(0) == "alone")
    #expect(reason(0, 0) == "below one PCI switch")
    #expect(reason(0, 1) == "below one PCI root complex")
    #expect(reason(0, 2) == "on NUMA node 0")
    #expect(reason(2, 5) == "across NUMA nodes 0 and 1")
    let somewhere = (0..<3).map { GPULocation(uuid: "\($0)", number: $0) }
    #expect(GPUGroups(somewhere, of: 3).groups.first?.reason == "in one machine")
    let half = [GPULocation(uuid: "a", number: 0, numaNode: 1), GPULocation(uuid: "b", number: 1)]
    #expect(GPUGroups(half, of: 2).groups.first?.reason == "across NUMA nodes that are not all known")
  }

  @Test func closeOnesAreTakenBeforeLowNumbersAndTheLowestAmongEquals() {
    // 0 and 3 share a switch, 1 and 4 another one on the same node; 2 and 5 are on the other node.
    let divided = GPUGroups(Self.gpus(at: [0, 1, 3, 0, 1, 4]), of: 2)
    #expect(divided.groups.map(\.gpus) == [["GPU-0", "GPU-3"], ["GPU-1", "GPU-4"], ["GPU-2", "GPU-5"]])
    #expect(divided.problem == nil)
    let three = GPUGroups(Self.gpus(at: [0, 0, 0]), of: 2)
    #expect(three.groups.map(\.gpus) == [["GPU-0", "GPU-1"]])
  }

  @Test func whatFillsNoGroupIsSaid() {
    #expect(GPUGroups(Self.gpus(at: [0, 0, 3]), of: 2).problem == "GPU 2 stays unused: it fills no group of 2")
    #expect(
      GPUGroups(Self.gpus(at: [0, 1, 3, 4]), of: 5).problem
        == "GPUs 0, 1, 2 and 3 stay unused: they fill no group of 5")
  }

  @Test func nonsenseFromTheMachineIsTakenAsItComes() {
    let endless = GPULocation(uuid: "a", number: 0, numaNode: -7, pciPath: Array(repeating: "", count: 10_000))
    let twin = GPULocation(uuid: "b", number: 0, numaNode: -7, pciPath: endless.pciPath)
    let double = GPULocation(uuid: "a", number: 1)
    #expect(GPUGroups([double, twin, endless], of: 2).groups.map(\.gpus) == [["a", "b"]])
    #expect(GPUGroups([endless], of: 0).groups.map(\.gpus) == [["a"]])
  }
}
