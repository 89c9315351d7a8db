import Foundation
import GPUInventory
import Glibc
import TestSupport
import Testing

/// `ollama-simulator gpus`, seen as the pool sees GPUs, and what `serve` does on them.
@Suite struct SimulatedGPUTests {
  private let folder: TemporaryDirectory
  private var path: String { folder.path(to: "gpus") }

  init() throws { folder = try TemporaryDirectory() }

  @discardableResult
  private func gpus(_ arguments: String...) async throws -> (output: String, errorOutput: String, end: ProgramEnd) {
    try await run(BuiltProduct.path("ollama-simulator"), ["gpus"] + arguments)
  }

  private func make(_ options: String...) async throws -> InventoryReader {
    let made = try await run(BuiltProduct.path("ollama-simulator"), ["gpus", "make", path] + options)
    try #require(made.end == .exited(0), "\(made.errorOutput)")
    return InventoryReader(nvmlLibrary: path + "/libnvidia-ml.so.1", kernelDriver: "/nonexistent", root: "/nonexistent")
  }

  private static func uuid(_ gpu: Int) -> String { "GPU-00000000-0000-4000-8000-00000000000\(gpu)" }

  /// A server on these GPUs, of which each model takes 2 GB.
  private func serve(on gpus: Int...) async throws -> Simulator {
    try await Simulator.start([
      "OLLAMA_SIMULATOR_GPUS": path, "CUDA_VISIBLE_DEVICES": gpus.map(Self.uuid).joined(separator: ","),
      "OLLAMA_SIMULATOR_TOKENS": "1000000",
    ])
  }

  /// Of each model the part that is on GPUs.
  private func parts(_ simulator: Simulator) async throws -> [String: Double] {
    var parts: [String: Double] = [:]
    for model in try await simulator.loadedModels {
      guard let name = model["name"] as? String, let size = model["size"] as? Double,
        let onGPU = model["size_vram"] as? Double
      else { continue }
      parts[name] = onGPU / size
    }
    return parts
  }

  @Test func `what was made is seen as NVIDIA's GPUs are, and what breaks as well, until it is cleared`() async throws {
    let reader = try await make("--count", "3", "--memory", "40GiB", "--name", "Big GPU", "--mig", "gpu1=10GiB,20GiB")
    let whole = reader.read(.automatic)
    #expect(whole.problems == [] && whole.gpus.count == 5)
    let gibibytes = whole.gpus.map { gpu in gpu.memoryTotal.map { $0 >> 30 } }
    #expect(gibibytes == [40, 40, 10, 20, 40])
    #expect(whole.gpus[0].name == "Big GPU" && whole.gpus.allSatisfy { $0.deviceNodes.isEmpty })
    let slices = Array(whole.gpus[2...3])

    let faults = [
      (["gpu2", "lost"], [Self.uuid(2)], 15), (["gpu0", "reset-required"], [Self.uuid(0)], 16),
      (["gpu0", "call", "nvmlDeviceGetTemperature", "999"], [Self.uuid(0)], 999),
      (["gpu1.2", "call", "nvmlDeviceGetName", "3"], [], 0),
      (["gpu1.2", "call", "nvmlDeviceGetName", "7"], [slices[1].uuid], 7),
    ]
    for (words, uuids, code) in faults {
      let fault = try await run(BuiltProduct.path("ollama-simulator"), ["gpus", "fault", path] + words)
      #expect(fault.end == .exited(0), "\(fault.errorOutput)")
      let broken = reader.read(.automatic)
      #expect(broken.problems.compactMap(\.gpu) == uuids && broken.problems.allSatisfy { $0.code == Int32(code) })
      #expect(broken.gpus.count == 5)
      try await gpus("clear", path, words[0])
      #expect(reader.read(.automatic).problems == [])
    }
    try await gpus("fault", path, "gpu0", "missing")
    #expect(reader.read(.automatic).gpus.map(\.uuid) == whole.gpus.dropFirst().map(\.uuid))
    for (fault, code) in [("mismatch", 18), ("gone", 9)] {
      try await gpus("fault", path, "driver", fault)
      #expect(reader.read(.automatic).problems.map(\.code) == [Int32(code)])
      try await gpus("clear", path)
    }
    #expect(reader.read(.automatic).gpus.map(\.uuid) == whole.gpus.map(\.uuid))
  }

  @Test func `events are told, and told again after they were cleared`() async throws {
    let reader = try await make("--count", "2")
    let source = GPUEventSource(nvmlLibrary: path + "/libnvidia-ml.so.1")
    defer { source.close() }
    source.watch(reader.read(.automatic).gpus)
    var events = source.events.makeAsyncIterator()
    // What happens before the GPU is registered is not told.
    let again = Task { [path] in
      while !Task.isCancelled {
        _ = try await run(BuiltProduct.path("ollama-simulator"), ["gpus", "fault", path, "gpu1", "xid", "79"])
        _ = try await run(BuiltProduct.path("ollama-simulator"), ["gpus", "clear", path])
      }
    }
    for _ in 0..<2 { #expect(await events.next() == GPUEvent(uuid: Self.uuid(1), kind: .xid(79))) }
    again.cancel()
    _ = await again.result
    try await gpus("fault", path, "gpu0", "ecc")
    var next = await events.next()
    while next?.uuid == Self.uuid(1) { next = await events.next() }
    #expect(next == GPUEvent(uuid: Self.uuid(0), kind: .doubleBitECC))
  }

  @Test func `a program of somebody else's holds memory until Ctrl-C`() async throws {
    let reader = try await make("--count", "1", "--memory", "10GiB")
    let program = try RunningProgram(
      BuiltProduct.path("ollama-simulator"), ["gpus", "occupy", path, "gpu0", "4GiB"])
    let process = GPUProcess(pid: program.processID, memory: 4 << 30)
    try await eventually("it is there") { reader.read(.automatic).gpus[0].processes == [process] }
    #expect(reader.read(.automatic).gpus[0].memoryUsed == 4 << 30)
    let said = try await program.line(containing: "holds")
    #expect(said == "Process \(program.processID) holds 4 GiB of gpu0 until Ctrl-C.")
    let more = try await gpus("occupy", path, "gpu0", "7GiB")
    #expect(more.end == .exited(1) && more.errorOutput == "Error: out of memory: 6 GiB of gpu0 are free\n")
    program.signal(SIGINT)
    #expect(try await program.wait() == .killed(bySignal: SIGINT))
    try await eventually("it is gone") { reader.read(.automatic).gpus[0].processes == [] }
  }

  @Test func `what a program held is free only so much later, or at once when that is cleared`() async throws {
    let reader = try await make("--count", "2", "--memory", "10GiB", "--mig", "gpu1=5GiB,5GiB")
    func used() -> [UInt64] { reader.read(.automatic).gpus.map { ($0.memoryUsed ?? 0) >> 30 } }
    func occupy(_ gpu: String, until now: [UInt64]) async throws -> RunningProgram {
      let program = try RunningProgram(
        BuiltProduct.path("ollama-simulator"), ["gpus", "occupy", path, gpu, "4GiB"])
      try await eventually("it is there") { used() == now }
      return program
    }
    try await gpus("fault", path, "gpu0", "lingers", "3")
    try await gpus("fault", path, "gpu1.2", "lingers", "3600")
    let programs = [
      try await occupy("gpu0", until: [4, 0, 0, 0]), try await occupy("gpu1.1", until: [4, 4, 4, 0]),
      try await occupy("gpu1.2", until: [4, 8, 4, 4]),
    ]
    for program in programs {
      program.signal(SIGINT)
      _ = try await program.wait()
    }
    try await eventually("nobody is there any more, and the memory is in use") {
      reader.read(.automatic).gpus.allSatisfy { $0.processes == [] } && used() == [4, 4, 0, 4]
    }
    try await eventually("it is free later") { used() == [0, 4, 0, 4] }
    try await gpus("clear", path)
    #expect(used() == [0, 0, 0, 0])
  }

  @Test func `what is no library is told, also where the right one is in use, and mended`() async throws {
    let before = try await make("--count", "2")
    #expect(before.read(.automatic).gpus.count == 2)
    let fault = try await gpus("fault", path, "driver", "garbage")
    #expect(fault.output == "\(path)/libnvidia-ml.so.1 is no library now.\n")
    #expect(before.read(.automatic).problems == [], "who has it open notices nothing")
    // Another program, since this one has it loaded.
    let (simulator, tool) = (BuiltProduct.path("ollama-simulator"), BuiltProduct.path("ollama-pool"))
    let file = try folder.write("gpus: auto\n", to: "pool.yaml")
    func driver() async throws -> String {
      try await run(tool, ["doctor", "--config", file], environment: ["LD_LIBRARY_PATH": path]).output
    }
    #expect(try await driver().contains("invalid ELF header"))
    // What is wrong with one GPU alone is cleared alone.
    try await gpus("clear", path, "gpu0")
    #expect(try await driver().contains("invalid ELF header"))
    let clear = try await run(simulator, ["gpus", "clear", path])
    #expect(clear.end == .exited(0), "\(clear.errorOutput)")
    let mended = try await driver()
    #expect(mended.contains("550.54.15") && !mended.contains("invalid ELF header"), "\(mended)")
  }

  @Test func `those with nodes name them`() async throws {
    let gpus = try await make("--count", "2", "--mig", "gpu1=10GiB", "--nodes").read(.automatic).gpus
    #expect(gpus[0].deviceNodes == ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"])
    #expect(gpus[1...].allSatisfy { $0.deviceNodes.isEmpty } && gpus.count == 3)
  }

  @Test func `models hold memory where there is room, and go when another one needs it`() async throws {
    let reader = try await make("--count", "2", "--memory", "3GiB")
    let simulator = try await serve(on: 0)
    for name in ["one", "two"] { _ = try await simulator.post("/api/pull", #"{"model":"\#(name)","stream":false}"#) }
    try await simulator.load("one")
    let held = try #require(reader.read(.automatic).gpus[0].processes)
    #expect(held.map(\.pid) == simulator.runners && held.map(\.memory) == [2_019_393_189])
    #expect(try await parts(simulator) == ["one:latest": 1])
    // Both do not fit.
    try await simulator.load("two")
    #expect(try await parts(simulator) == ["two:latest": 1])
    #expect(reader.read(.automatic).gpus.map { $0.processes?.count } == [1, 0])
    _ = try await simulator.post("/api/generate", #"{"model":"two","keep_alive":0}"#)
    try await eventually("all is free") { reader.read(.automatic).gpus.map(\.memoryUsed) == [0, 0] }
  }

  @Test func `a model that fits on no GPU is spread, or beside it in part, or wholly`() async throws {
    let reader = try await make("--count", "2", "--memory", "1GiB")
    let spread = try await serve(on: 0, 1)
    try await spread.load()
    #expect(try await parts(spread) == ["llama3.2:latest": 1])
    #expect(reader.read(.automatic).gpus.allSatisfy { $0.processes?.map(\.pid) == spread.runners })
    spread.program.killTree()
    try await eventually("it is gone") { reader.read(.automatic).gpus.allSatisfy { $0.processes == [] } }

    let one = try await serve(on: 0)
    try await one.load()
    let part = try #require(try await parts(one)["llama3.2:latest"])
    #expect(part > 0.4 && part < 0.6)
    _ = try await one.post("/api/generate", #"{"model":"llama3.2","keep_alive":0}"#)
    let other = try RunningProgram(
      BuiltProduct.path("ollama-simulator"), ["gpus", "occupy", path, "gpu0", "1GiB"])
    try await other.line(containing: "holds")
    try await one.load()
    #expect(try await parts(one) == ["llama3.2:latest": 0])
  }

  @Test func `what is computed on a GPU that gets lost fails, and what is loaded then is on the CPU`() async throws {
    _ = try await make("--count", "2", "--memory", "3GiB")
    let (lost, other) = (try await serve(on: 0), try await serve(on: 1))
    let stream = try await lost.open("/api/chat", FaultTests.chat)
    let unharmed = try await other.open("/api/chat", FaultTests.chat)
    for probe in [stream, unharmed] {
      _ = try await probe.head()
      _ = try await probe.piece()
    }
    try await gpus("fault", path, "gpu0", "lost")
    #expect(try await stream.restOfBody().hasSuffix("unexpected EOF\"}\n"))
    #expect(try await unharmed.piece() != nil)
    await unharmed.close()
    try await lost.load()
    #expect(try await parts(lost) == ["llama3.2:latest": 0])
  }

  @Test func `on the CPU in silence, and not even said so`() async throws {
    let reader = try await make("--count", "1")
    let simulator = try await serve(on: 0)
    for (fault, part) in [("cpu-fallback", 0.0), ("unsaid-cpu-fallback", 1)] {
      try simulator.setFaults(fault)
      try await simulator.load()
      #expect(try await parts(simulator) == ["llama3.2:latest": part])
      #expect(reader.read(.automatic).gpus[0].processes == [])
      _ = try await simulator.post("/api/generate", #"{"model":"llama3.2","keep_alive":0}"#)
    }
  }

  @Test func `bad input is named, and changes nothing`() async throws {
    _ = try await make("--count", "2")
    let before = try String(contentsOfFile: path + "/nvml.state", encoding: .utf8)
    let mistakes: [([String], Int32, String)] = [
      (["make", path], 1, "there are simulated GPUs in \(path) already"),
      (["make", path + "2", "--count", "0"], 64, "expected a number from 1 to 64"),
      (["make", path + "2", "--memory", "much"], 64, "'much'"),
      (["make", path + "2", "--mig", "gpu4=10GiB"], 64, "expected a GPU that there is"),
      (["make", "/proc/gpus"], 1, "mkdir /proc/gpus: "),
      (["fault", path, "gpu7", "lost"], 1, "there is no simulated GPU gpu7; there are: gpu0, gpu1"),
      (["fault", path, "gpu1", "melted"], 1, "`melted` is no fault of a GPU; see ollama-simulator gpus fault --help"),
      (["fault", path, "driver", "lost"], 1, "`lost` is no fault of the driver"),
      (["fault", path, "gpu1", "xid", "many"], 1, "many: expected a number from 1 to 1000"),
      (["fault", path, "gpu1", "lingers", "0"], 1, "0: expected a number from 1 to 3600"),
      (["fault", path, "gpu1", "garbage"], 1, "`garbage` is no fault of a GPU"),
      (["fault", path, "gpu1", "call", "nvmlNothing", "3"], 1, "the pool calls no function nvmlNothing"),
      (["fault", folder.path, "gpu1", "lost"], 1, "`ollama-simulator gpus make \(folder.path)` makes some"),
      (["clear", path, "gpu2"], 1, "there is no simulated GPU gpu2"),
      (["occupy", path, "gpu1", "100GiB"], 1, "out of memory: 80 GiB of gpu1 are free"),
      (["occupy", path + "3", "gpu1", "1GiB"], 1, "\(path)3: no such file or directory"),
    ]
    for (words, status, message) in mistakes {
      let command = try await run(BuiltProduct.path("ollama-simulator"), ["gpus"] + words)
      #expect(command.end == .exited(status), "\(words): \(command)")
      #expect(command.errorOutput.contains(message), "\(words): \(command.errorOutput)")
    }
    #expect(try String(contentsOfFile: path + "/nvml.state", encoding: .utf8) == before)
    #expect(!FileManager.default.fileExists(atPath: path + "2"))
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_GPUS": folder.path], untilReady: false)
    #expect(try await simulator.program.wait() == .exited(1))
    #expect(simulator.program.errorOutput.contains("there are no simulated GPUs in \(folder.path)"))
  }
}
