import Foundation
import Glibc
import PoolCore
import TestSupport
import Testing

@testable import Launching
@testable import Systemd

@Suite struct LocalResourcesTests {
  private static let machine = MachineResources(onlineCPUs: [0, 1, 2, 3, 8, 9], nodesWithMemory: [0, 1])

  private func local(_ cpus: [Int], _ nodes: [Int]) -> LocalResources {
    var specification = InstanceSpecification.example()
    (specification.cpus, specification.numaNodes) = (cpus, nodes)
    return LocalResources(of: specification, on: Self.machine)
  }

  @Test func `what is offline is left out, and what has no memory is not preferred`() {
    #expect(local([9, 2, 2, 7, -1, 100_000], []).cpus == [2, 9])
    #expect(local([4, 5], [3]) == local([], []))
    #expect(local([], []).cpus == [] && local([], []).memoryNode == nil)
    #expect(local([], [1]).memoryNode == 1)
    #expect(local([], [1, 2]).memoryNode == 1, "node 2 has none")
    #expect(local([], [0, 1]).memoryNode == nil, "one of several would be remote to the other's GPU")
  }

  @Test func `lists of sysfs are read, and nonsense is nothing`() {
    #expect(MachineResources.numbers("0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11])
    #expect(MachineResources.numbers("5") == [5])
    for text in ["", "\n", "a", "3-1", "1-2-3", "-1", "0-", "0-9999999999", "0-8192", "1,x"] {
      #expect(MachineResources.numbers(text) == [], "\(text)")
    }
    #expect(MachineResources.now.onlineCPUs.contains(0) && MachineResources.now.nodesWithMemory.contains(0))
  }

  @Test func `a unit gets a mask of its CPUs and one preferred node`() {
    var specification = InstanceSpecification.example()
    (specification.cpus, specification.numaNodes) = ([0, 3, 9], [1])
    func properties(_ specification: InstanceSpecification) -> [String: BusValue] {
      let list = InstanceUnit.properties(
        of: specification, port: 11500, owner: owner, home: "/x", on: Self.machine)
      #expect(InstanceUnit.unbound(list).count == list.count - (specification.cpus.isEmpty ? 0 : 3))
      return Dictionary(uniqueKeysWithValues: list.map { ($0.name, $0.value) })
    }
    let bound = properties(specification)
    #expect(bound["CPUAffinity"] == .bytes([0b1001, 0b10]))
    #expect(bound["NUMAPolicy"] == .int32(1))
    #expect(bound["NUMAMask"] == .bytes([0b10]))
    let free = properties(.example())
    #expect(free["CPUAffinity"] == nil && free["NUMAPolicy"] == nil && free["NUMAMask"] == nil)
  }
}

/// What a process is kept to, as /proc/PID/status and numa_maps tell.
enum Kept {
  static func cpus(_ processID: Int32) throws -> Set<Int> {
    let status = try String(contentsOfFile: "/proc/\(processID)/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:\t") }
    return MachineResources.numbers(line?.split(separator: "\t").last ?? "")
  }

  static func policies(_ processID: Int32) throws -> Set<String> {
    let maps = try String(contentsOfFile: "/proc/\(processID)/numa_maps", encoding: .utf8)
    return Set(maps.split(separator: "\n").compactMap { $0.split(separator: " ").dropFirst().first.map(String.init) })
  }
}

extension ChildLauncherTests {
  @Test func `a child process keeps to its CPUs and prefers its node's memory, also in what it starts`() async throws {
    let launcher = Self.launcher()
    let script = try await Script("sh -c 'echo $$ >> \"$0\".pids; exec sleep 1000' \"$0\" & echo $$ >> $0.pids; wait")
    var specification = InstanceSpecification.example(executable: script.path)
    (specification.cpus, specification.numaNodes) = ([1, 999], [0, 77])
    _ = try await launcher.start(specification, port: 11500)
    for process in try await script.processIDs("pids", count: 2) {
      #expect(try Kept.cpus(process) == [1])
      #expect(try Kept.policies(process).contains { $0.hasPrefix("prefer") && $0.hasSuffix(":0") })
    }
    await launcher.close()
  }

  @Test func `a guard that can't keep its instance to CPUs or memory says so and starts it`() async throws {
    let script = try await Script("echo it runs; exit 3")
    let guardProcess = try RunningProgram(
      Guard.path,
      [
        InstanceGuard.subcommand, "--cpus=900", "--memory-of-node=900", "--memory-of-node=x", "--other", "300",
        script.path,
      ])
    try await guardProcess.line(containing: "--cpus=900 has no effect: Invalid argument")
    try await guardProcess.line(containing: "--memory-of-node=900 has no effect: Invalid argument")
    try await guardProcess.line(containing: "it runs")
    #expect(try await guardProcess.wait() == .exited(3))
  }
}

extension SystemdLauncherTests {
  @Test func `a unit keeps to its CPUs and prefers its node's memory, and starts where it can't`() async throws {
    try await withLauncher { launcher, _ in
      let script = try await Script(Self.waits)
      var specification = InstanceSpecification.example("near", gpus: [], executable: script.path)
      (specification.cpus, specification.numaNodes) = ([1, 999], [0])
      let unit = try await launcher.start(specification, port: 11500)
      #expect(try Kept.cpus(unit.mainPID) == [1])
      #expect(try Kept.policies(unit.mainPID).contains { $0.hasPrefix("prefer") && $0.hasSuffix(":0") })
      #expect(unit.specification == specification.digest)

      // What the machine has, and its units may not use.
      for (id, binding) in [
        ("far1", [UnitProperty.cpuAffinity([900])]), ("far2", UnitProperty.preferredMemory(ofNode: 63)),
      ] as [(InstanceID, [UnitProperty])] {
        let free = InstanceSpecification.example(id, gpus: [], executable: script.path)
        let properties = InstanceUnit.properties(
          of: free, port: 11501, owner: owner, as: try InstanceAccount.resolve(nil))
        let unit = try await launcher.units.start(free, properties + binding)
        #expect(isAlive(unit.mainPID))
        #expect(try Kept.cpus(unit.mainPID).count > 1)
      }
    }
  }
}
