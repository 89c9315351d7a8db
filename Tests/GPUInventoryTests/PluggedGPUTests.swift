import TestSupport
import Testing

@testable import GPUInventory

/// GPUs that come while NVML is open.
@Suite(.enabled(if: FakeNVML.compiler != nil, "\(FakeNVML.needsCompiler)"))
struct PluggedGPUTests {
  private static let driver = "sys/bus/pci/drivers/nvidia"
  private static let known = ["0000:01:00.0", "0000:41:00.0", "0000:81:00.0", "0001:01:00.0"]
  private static let newcomer = "gpu uuid=GPU-e bus=00000000:c1:00.0 minor=4 plugged=1\n"

  /// The kernel's driver has those that the library shows, and a virtual function, which it never does.
  private func machine() throws -> MachineFiles {
    let files = try MachineFiles()
    for name in Self.known + ["0000:99:00.4", "bind", "new_id"] { try files.write("", to: "\(Self.driver)/\(name)") }
    return files
  }

  @Test("one is found by opening the library anew, which all its users let go of, and its events are heard")
  func found() async throws {
    let files = try machine()
    defer { withExtendedLifetime(files) {} }
    let fake = try await FakeNVML(variant: .counting, state: FakeNVML.four)
    let reader = fake.reader(root: files.root)
    let source = GPUEventSource(nvmlLibrary: fake.library)
    source.watch(reader.read(.automatic).gpus)
    try await eventually("it waits for events") { fake.calls(of: "nvmlEventSetWait_v2") > 0 }
    try fake.show(FakeNVML.four + Self.newcomer)
    for _ in 0..<4 { #expect(reader.read(.automatic).gpus.count == 4) }
    // The next attempt for what was there from the beginning is later.
    #expect(fake.calls(of: "nvmlInit_v2") == 2)

    try files.write("", to: "\(Self.driver)/0000:c1:00.0")
    try await eventually("the library shows it") { reader.read(.automatic).gpus.count == 5 }
    source.watch(reader.read(.automatic).gpus)
    try await eventually("all are registered") { fake.calls(of: "nvmlDeviceRegisterEvents") == 9 }
    try fake.show(FakeNVML.four + Self.newcomer + "xid gpu=4 code=79 seq=1\nxid gpu=0 code=31 seq=2\n")
    var events = source.events.makeAsyncIterator()
    var heard: [GPUEvent?] = []
    for _ in 0..<2 { heard.append(await events.next()) }
    #expect(
      Set(heard) == [GPUEvent(uuid: "GPU-e", kind: .xid(79)), GPUEvent(uuid: "GPU-c", kind: .xid(31))])
    #expect(fake.calls(of: "nvmlInit_v2") == 4)
    source.close()
  }

  @Test("a library that can't be opened anew is tried again, and its events are heard again then")
  func notReopened() async throws {
    let files = try machine()
    defer { withExtendedLifetime(files) {} }
    let fake = try await FakeNVML(variant: .counting, state: FakeNVML.four)
    let reader = fake.reader(root: files.root)
    let source = GPUEventSource(nvmlLibrary: fake.library, retryPause: .milliseconds(50))
    source.watch(reader.read(.automatic).gpus)
    try await eventually("it waits for events") { fake.calls(of: "nvmlEventSetWait_v2") > 0 }
    try files.write("", to: "\(Self.driver)/0000:c1:00.0")
    try fake.show(FakeNVML.four + Self.newcomer + "fail nvmlInit_v2 999\n")
    try await eventually("it is closed, and can't be opened") { reader.read(.automatic).gpus.isEmpty }
    try fake.show(FakeNVML.four + Self.newcomer)
    #expect(reader.read(.automatic).gpus.count == 5)
    try await eventually("all are registered again") { fake.calls(of: "nvmlDeviceRegisterEvents") == 8 }
    try fake.show(FakeNVML.four + Self.newcomer + "xid gpu=0 code=31 seq=1\n")
    var events = source.events.makeAsyncIterator()
    #expect(await events.next() == GPUEvent(uuid: "GPU-c", kind: .xid(31)))
    source.close()
  }

  @Test("what the library does not show is asked for four times, further and further apart")
  func attempts() throws {
    let files = try machine()
    defer { withExtendedLifetime(files) {} }
    let system = FileSystem(root: files.root)
    let start = ContinuousClock.now
    var plugged = PluggedGPUs()
    let gpus = Self.known.enumerated().map { index, address in
      var gpu = GPU(index: index, uuid: "GPU-\(index)", vendor: .nvidia)
      gpu.pciAddress = address
      return gpu
    }
    func recounts(_ seconds: Range<Int>, problems: [InventoryProblem] = []) -> [Int] {
      seconds.filter {
        plugged.areWorthARecount((gpus, problems), system, at: start + .seconds($0))
      }
    }
    // One that was there from the beginning may have had no device nodes.
    #expect(recounts(0..<1000) == [10, 70, 670])
    try files.write("", to: "\(Self.driver)/0000:c1:00.0")
    #expect(recounts(1000..<3000) == [1000, 1010, 1070, 1670])
    // One that goes is no reason, and one more is another round.
    try files.remove("\(Self.driver)/0000:99:00.4")
    #expect(recounts(3000..<4000) == [])
    try files.write("", to: "\(Self.driver)/0000:c2:00.0")
    #expect(recounts(4000..<4011) == [4000, 4010])
    try files.remove("\(Self.driver)/0000:c2:00.0")
    try files.remove("\(Self.driver)/0000:c1:00.0")
    #expect(recounts(4011..<5000) == [])
    // Another one in the place of one that is lost, which the library goes on to show.
    let lost = InventoryProblem(gpu: "GPU-1", subject: "nvml", code: 15, text: "GPU is lost")
    #expect(recounts(5000..<5100, problems: [lost]) == [])
    try files.remove("\(Self.driver)/0000:41:00.0")
    #expect(recounts(5100..<5200, problems: [lost]) == [])
    try files.write("", to: "\(Self.driver)/0000:41:00.0")
    #expect(recounts(5200..<5205, problems: [lost]) == [5200])
    #expect(recounts(5205..<6000) == [])
  }
}
