import TestSupport
import Testing

@testable import GPUInventory

/// Who uses NVIDIA's GPUs.
struct ProcessTests {
  private static let two = "gpu uuid=GPU-a bus=0:1:0\ngpu uuid=GPU-b bus=0:2:0\n"

  private static func processes(_ inventory: Inventory) -> [[GPUProcess]?] { inventory.gpus.map(\.processes) }

  @Test("what computes and what draws counts, each process once")
  func both() async throws {
    let state = """
      proc gpu=0 pid=30 used=3000
      proc gpu=0 pid=10
      proc gpu=0 pid=20 used=2000 graphics=1
      proc gpu=0 pid=30 used=2500 graphics=1

      """
    let inventory = try await FakeNVML(state: Self.two + state).reader().read(.automatic)
    #expect(
      Self.processes(inventory) == [
        [GPUProcess(pid: 10, memory: nil), GPUProcess(pid: 20, memory: 2000), GPUProcess(pid: 30, memory: 3000)], [],
      ])
    #expect(inventory.problems == [])
  }

  @Test("an older driver's functions do, without those for drawing too")
  func older() async throws {
    let state = Self.two + "proc gpu=1 pid=7 used=70\n"
    let fake = try await FakeNVML(variant: .old, state: state)
    #expect(Self.processes(fake.reader().read(.automatic)) == [[], [GPUProcess(pid: 7, memory: 70)]])
    try fake.show(state + "fail nvmlDeviceGetGraphicsRunningProcesses_v2 3\n")
    #expect(Self.processes(fake.reader().read(.automatic)) == [[], [GPUProcess(pid: 7, memory: 70)]])
  }

  @Test("a list that is not complete is not known", arguments: ["Compute", "Graphics"])
  func incomplete(kind: String) async throws {
    let state = Self.two + "proc gpu=0 pid=7 used=70\nfail nvmlDeviceGet\(kind)RunningProcesses_v3 4 gpu=0\n"
    let inventory = try await FakeNVML(state: state).reader().read(.automatic)
    #expect(Self.processes(inventory) == [nil, []])
    #expect(inventory.problems.map(\.code) == [4] && inventory.problems.map(\.gpu) == ["GPU-a"])
  }

  @Test("drivers whose elements have another length are read alike", arguments: [16, 24, 32])
  func lengths(size: Int) async throws {
    let lines = (1...70).map { "proc gpu=0 pid=\($0) used=\($0 * 1000)\n" }.joined()
    let fake = try await FakeNVML(state: Self.two + "processsize \(size)\n" + lines)
    let expected = (1...70).map { GPUProcess(pid: $0, memory: UInt64($0) * 1000) }
    #expect(Self.processes(fake.reader().read(.automatic)) == [expected, []])
    try fake.show(Self.two + "processsize \(size)\nproc gpu=0 pid=1 used=1\n")
    #expect(Self.processes(fake.reader().read(.automatic)) == [[GPUProcess(pid: 1, memory: 1)], []])
  }

  @Test("more than there is room for at first are read, and more than there can be are not known")
  func many() async throws {
    let fake = try await FakeNVML()
    for (count, isKnown) in [(64, true), (65, true), (4000, true), (5000, false)] {
      try fake.show(Self.two + (1...count).map { "proc gpu=0 pid=\($0) used=1\n" }.joined())
      let inventory = fake.reader().read(.automatic)
      #expect(inventory.gpus[0].processes?.count == (isKnown ? count : nil))
      #expect(inventory.gpus[1].processes == [])
    }
  }

  @Test("numbers that no process can have are left out")
  func impossible() async throws {
    let state = Self.two + "proc gpu=0 pid=0 used=1\nproc gpu=0 pid=4294967295 used=1\nproc gpu=0 pid=5 used=1\n"
    let inventory = try await FakeNVML(state: state).reader().read(.automatic)
    #expect(Self.processes(inventory) == [[GPUProcess(pid: 5, memory: 1)], []])
  }

  @Test("a process that occupies a GPU is there until it ends")
  func occupation() async throws {
    let fake = try await FakeNVML(state: "gpu uuid=GPU-a total=1000 used=100\n")
    let reader = fake.reader()
    let program = try fake.occupy("GPU-a", bytes: 300)
    let process = GPUProcess(pid: program.processID, memory: 300)
    try await eventually("it is there") { reader.read(.automatic).gpus[0].processes == [process] }
    #expect(reader.read(.automatic).gpus[0].memoryUsed == 400)
    _ = try await program.stop()
    try await eventually("nobody is there any more") { reader.read(.automatic).gpus[0].processes == [] }
    #expect(reader.read(.automatic).gpus[0].memoryUsed == 100)
  }
}
