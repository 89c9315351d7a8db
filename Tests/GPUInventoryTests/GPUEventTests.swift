import Synchronization
import TestSupport
import Testing

@testable import GPUInventory

@Suite(.enabled(if: FakeNVML.compiler != nil, "\(FakeNVML.needsCompiler)"))
struct GPUEventTests {
  private static let state = """
    gpu uuid=GPU-a bus=0:1:0
    gpu uuid=GPU-b bus=0:2:0 mig=1
    mig gpu=1 index=0 uuid=MIG-x gi=7 ci=0
    mig gpu=1 index=1 uuid=MIG-y gi=3 ci=0
    mig gpu=1 index=2 uuid=MIG-z gi=3 ci=1

    """

  /// A source with what it has told so far.
  private final class Listener: Sendable {
    let fake: FakeNVML
    let source: GPUEventSource
    private let told = Mutex<[GPUEvent]>([])
    private let ended = Mutex(false)
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(_ fake: FakeNVML, retryPause: Duration = .milliseconds(50)) {
      self.fake = fake
      source = GPUEventSource(nvmlLibrary: fake.library, retryPause: retryPause)
      let events = source.events
      let task = Task { [weak self] in
        for await event in events { self?.told.withLock { $0.append(event) } }
        self?.ended.withLock { $0 = true }
      }
      self.task.withLock { $0 = task }
    }

    var events: [GPUEvent] { told.withLock(\.self) }
    var hasEnded: Bool { ended.withLock(\.self) }

    /// Watches what a reader sees now, and waits until the driver has been asked for it.
    func watch() async throws {
      source.watch(fake.reader().read(.automatic).gpus)
      try await eventually("the GPUs are registered") {
        fake.calls(of: "nvmlEventSetWait_v2") + fake.calls(of: "nvmlEventSetWait") > 0
      }
    }
  }

  @Test("XID 31 and 79 are told once each, with their GPU")
  func xids() async throws {
    let listener = Listener(try await FakeNVML(variant: .counting, state: Self.state))
    try await listener.watch()
    let first = "xid gpu=0 code=31 seq=1\n"
    try listener.fake.show(Self.state + first)
    try await eventually("the first is told") { listener.events.count == 1 }
    // A lost GPU can no longer be asked for its name.
    let second = "xid gpu=0 code=79 seq=2\nfail nvmlDeviceGetUUID 15 gpu=0\n"
    try listener.fake.show(Self.state + first + second)
    try await eventually("the second is told") { listener.events.count == 2 }
    try listener.fake.show(Self.state + first + second + "ecc gpu=0 seq=3\n")
    try await eventually("the third is told") { listener.events.count == 3 }
    #expect(listener.events.map(\.uuid) == ["GPU-a", "GPU-a", "GPU-a"])
    #expect(listener.events.map(\.kind) == [.xid(31), .xid(79), .doubleBitECC])
    #expect(listener.source.problem == nil)
    listener.source.close()
  }

  @Test("an event of a slice is the slice's, one of a GPU instance each of its slices', one of none the GPU's")
  func slices() async throws {
    let listener = Listener(try await FakeNVML(variant: .counting, state: Self.state))
    try await listener.watch()
    try listener.fake.show(
      Self.state + """
        xid gpu=1 code=13 seq=1 gi=3 ci=1
        xid gpu=1 code=94 seq=2 gi=3
        xid gpu=1 code=31 seq=3 gi=5 ci=0
        xid gpu=1 code=119 seq=4

        """)
    try await eventually("the last is told") { listener.events.last?.kind == .xid(119) }
    // A GPU instance that nobody named is none of the others'.
    #expect(listener.events.map(\.uuid) == ["MIG-z", "MIG-y", "MIG-z", "GPU-b"])
    #expect(listener.events.map(\.kind) == [.xid(13), .xid(94), .xid(94), .xid(119)])
    listener.source.close()
  }

  @Test("a list that names a slice and not its GPU has the events of both")
  func sliceAlone() async throws {
    let listener = Listener(try await FakeNVML(variant: .counting, state: Self.state))
    listener.source.watch(listener.fake.reader().read(.configured([ConfiguredGPU(uuid: "MIG-y")])).gpus)
    try await eventually("its GPU is registered") {
      listener.fake.calls(of: "nvmlDeviceRegisterEvents", gpu: 1) == 1
    }
    try listener.fake.show(
      Self.state + """
        xid gpu=1 code=31 seq=1 gi=7 ci=0
        xid gpu=1 code=13 seq=2 gi=3 ci=0
        xid gpu=1 code=79 seq=3

        """)
    try await eventually("the last is told") { listener.events.last?.kind == .xid(79) }
    #expect(listener.events.map(\.uuid) == ["MIG-y", "GPU-b"])
    listener.source.close()
  }

  @Test("a driver that is loaded anew while it is waited for is opened again")
  func reload() async throws {
    let listener = Listener(try await FakeNVML(variant: .counting, state: Self.state))
    try await listener.watch()
    let before = listener.fake.calls(of: "nvmlDeviceRegisterEvents")
    try listener.fake.show(Self.state + "reload 1\n")
    try await eventually("it is registered again") {
      listener.fake.calls(of: "nvmlDeviceRegisterEvents") >= before + 2
    }
    try listener.fake.show(Self.state + "reload 1\nxid gpu=0 code=79 seq=1\n")
    try await eventually("the event is told") { listener.events == [GPUEvent(uuid: "GPU-a", kind: .xid(79))] }
    #expect(listener.source.problem == nil)
    listener.source.close()
  }

  @Test("a GPU that comes later is watched once it is named, and what is not named is not")
  func newGPU() async throws {
    let listener = Listener(try await FakeNVML(variant: .counting, state: "gpu uuid=GPU-a\n"))
    try await listener.watch()
    try listener.fake.show("gpu uuid=GPU-a\ngpu uuid=GPU-b\nxid gpu=1 code=13 seq=1\n")
    listener.source.watch(listener.fake.reader().read(.automatic).gpus)
    try await eventually("the second is registered") {
      listener.fake.calls(of: "nvmlDeviceRegisterEvents", gpu: 1) == 1
    }
    try listener.fake.show("gpu uuid=GPU-a\ngpu uuid=GPU-b\nxid gpu=1 code=13 seq=1\nxid gpu=1 code=62 seq=2\n")
    try await eventually("its event is told") { listener.events.count == 1 }
    #expect(listener.events == [GPUEvent(uuid: "GPU-b", kind: .xid(62))])
    listener.source.close()
  }

  @Test(
    "a driver that gives no events is one problem, and is asked again",
    arguments: [
      "nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlEventSetCreate", "nvmlDeviceGetSupportedEventTypes",
      "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2",
    ])
  func failures(function: String) async throws {
    let fake = try await FakeNVML(variant: .counting, state: Self.state)
    let gpus = fake.reader().read(.automatic).gpus
    let listener = Listener(fake)
    try fake.show(Self.state + "fail \(function) 4\n")
    listener.source.watch(gpus)
    try await eventually("the problem is told") { listener.source.problem?.subject == function }
    #expect(listener.source.problem?.code == 4 && listener.events == [] && !listener.hasEnded)
    try fake.show(Self.state)
    try await eventually("the problem is gone") { listener.source.problem == nil }
    var sequence = 0
    try await eventually("events are told") {
      sequence += 1
      try fake.show(Self.state + "xid gpu=0 code=13 seq=\(sequence)\n")
      return !listener.events.isEmpty
    }
    listener.source.close()
  }

  @Test("what has no events is no fault; an old driver's are told, without slices")
  func unsupported() async throws {
    let old = Listener(try await FakeNVML(variant: .old, state: Self.state))
    try await old.watch()
    try old.fake.show(Self.state + "xid gpu=1 code=13 seq=1 gi=3 ci=1\n")
    try await eventually("it is told") { old.events == [GPUEvent(uuid: "GPU-b", kind: .xid(13))] }
    old.source.close()

    let fake = try await FakeNVML(
      variant: .counting, state: Self.state + "fail nvmlDeviceGetSupportedEventTypes 3 gpu=0\n")
    let listener = Listener(fake)
    try await listener.watch()
    #expect(listener.source.problem == nil)
    listener.source.close()

    let ancient = Listener(try await FakeNVML(variant: .ancient))
    ancient.source.watch(ancient.fake.reader().read(.automatic).gpus)
    try await eventually("the problem is told") { ancient.source.problem != nil }
    #expect(ancient.source.problem?.text.contains("no functions for events") == true)
    ancient.source.close()
  }

  @Test("without a GPU of NVIDIA's no driver is looked for")
  func noGPU() throws {
    let source = GPUEventSource(nvmlLibrary: "/nonexistent")
    source.watch([])
    source.watch([GPU(index: 0, uuid: "GPU-0000000000000001", vendor: .amd)])
    #expect(source.problem == nil && !source.hasThread)
    source.close()
  }

  @Test("closing ends the stream at once, also while the driver hangs, and the thread soon after")
  func close() async throws {
    let waiting = Listener(try await FakeNVML(variant: .counting, state: Self.state))
    try await waiting.watch()
    let begin = ContinuousClock.now
    waiting.source.close()
    try await eventually("the stream ends") { waiting.hasEnded }
    try await eventually(within: .seconds(5), "the thread ends") { !waiting.source.hasThread }
    #expect(ContinuousClock.now - begin < .seconds(3))

    let hanging = Listener(try await FakeNVML(variant: .counting, state: Self.state))
    try await hanging.watch()
    let release = try hanging.fake.hang()
    hanging.source.close()
    hanging.source.watch([])
    try await eventually("the stream ends") { hanging.hasEnded }
    #expect(hanging.source.hasThread)
    try release()
    try await eventually("the thread ends") { !hanging.source.hasThread }
  }

  @Test("whoever lets go of the source ends it")
  func released() async throws {
    let fake = try await FakeNVML(variant: .counting, state: Self.state)
    var source: GPUEventSource? = GPUEventSource(nvmlLibrary: fake.library)
    source?.watch(fake.reader().read(.automatic).gpus)
    let events = try #require(source?.events)
    source = nil
    for await _ in events { Issue.record("an event that never happened") }
  }
}
