import FoundationEssentials
import Testing

import PoolConfiguration

@Suite struct ReaderTests {
  @Test(
    "an empty file and one of comments mean the defaults", arguments: ["", "\n", "# nothing\n", "---\n", "{}", "~"])
  func empty(text: String) throws {
    #expect(try settings(text) == Settings())
  }

  @Test("every kind of value arrives where it belongs")
  func values() throws {
    let read = try settings(
      """
      listen: [0.0.0.0:11434, "[::1]:8080"]
      allow_open_listener: true
      origins: [https://chat.example.org, "http://[::1]:3000"]
      metrics_listen: off
      launcher: child
      ollama: /opt/ollama/bin/ollama
      instance_user: ollama
      instance_ports: 20000
      slots: 4
      context_length: 8192
      keep_alive: -1
      preload: [llama3.2:3b, hf.co/x/y:Q4_K_M]
      environment: {OLLAMA_FLASH_ATTENTION: 1, X: "a b", EMPTY: ""}
      memory_max: 16GiB
      gpus:
        - {uuid: GPU-a, nodes: [/dev/nvidia0], pci: "0000:41:00.0", memory: 80GiB}
        - {uuid: GPU-b, vendor: amd}
      placements:
        - id: both
          gpus: [0, GPU-b]
          slots: 2
          models: [llama3:70b]
          gpu_memory: 40GiB
          context_length: 16384
          keep_alive: forever
          environment: {Y: z}
      models: {"llama3:70b": {num_ctx: 4096, max_num_ctx: 8192, gpu_memory: 41GiB}, phi3: {max_num_ctx: 2048}}
      numa_binding: false
      gpu_memory: 20GiB
      busy_memory: 0
      yield_to_others: true
      yield_after: 30s
      allow_cpu: true
      scaling: {min: 0, max: 1, z: 1.5, idle_hold: 90}
      drain_timeout: 2h
      """)
    #expect(read.listen.map(\.description) == ["0.0.0.0:11434", "[::1]:8080"])
    #expect(read.allowOpenListener && read.metricsListen == nil && read.launcher == .child)
    #expect(read.ollama == "/opt/ollama/bin/ollama" && read.instanceUser == "ollama" && read.instancePorts == 20_000)
    #expect(read.slots == 4 && read.contextLength == 8_192 && read.keepAlive == .forever)
    #expect(read.preload == ["llama3.2:3b", "hf.co/x/y:Q4_K_M"])
    #expect(read.environment == ["OLLAMA_FLASH_ATTENTION": "1", "X": "a b", "EMPTY": ""])
    #expect(read.memoryMax == .mebibytes(16_384))
    guard case .list(let gpus) = read.gpus, case .list(let placements) = read.placements else {
      Issue.record("no lists")
      return
    }
    #expect(gpus.map(\.uuid) == ["GPU-a", "GPU-b"] && gpus.map(\.vendor) == [.nvidia, .amd])
    #expect(gpus[0].nodes == ["/dev/nvidia0"] && gpus[0].memory == .mebibytes(81_920))
    #expect(placements[0].id == "both" && placements[0].gpus == [.index(0), .uuid("GPU-b")])
    #expect(placements[0].slots == 2 && placements[0].environment == ["Y": "z"])
    #expect(placements[0].models == ["llama3:70b"] && placements[0].gpuMemory == .mebibytes(40_960))
    #expect(placements[0].contextLength == 16_384 && placements[0].keepAlive == .forever)
    #expect(read.servedModels == ["llama3:70b"] && Settings().servedModels == nil)
    #expect(read.models.count == 2 && read.models["phi3"]?.maxNumCtx == 2_048 && read.models["phi3"]?.numCtx == nil)
    let large = read.models["llama3:70b"]
    #expect(large?.numCtx == 4_096 && large?.maxNumCtx == 8_192 && large?.gpuMemory == .mebibytes(41_984))
    #expect(!read.numaBinding && read.gpuMemory == .mebibytes(20_480) && read.busyMemory == ByteCount(bytes: 0))
    #expect(read.yieldToOthers && read.yieldAfter == .seconds(30) && read.allowCPU)
    #expect(read.scaling.min == 0 && read.scaling.max == 1 && read.scaling.z == 1.5)
    #expect(read.scaling.idleHold == .seconds(90) && read.drainTimeout == .seconds(7_200))
  }

  @Test("drop-ins apply in the order of their names: maps merge, lists and scalars replace")
  func dropIns() throws {
    let folder = try TemporaryFolder()
    let main = try folder.write(
      "ollama-pool.yaml",
      "slots: 2\npreload: [a, b]\nenvironment: {A: 1, B: 1}\nscaling: {min: 2, max: 4}\nmodels: {m: {num_ctx: 512}}\n")
    let first = try folder.write(
      "ollama-pool.d/10-first.yaml",
      "slots: 3\nenvironment: {B: 2}\nscaling: {max: 5}\nmodels: {n: {num_ctx: 1024}}\n")
    let second = try folder.write("ollama-pool.d/20-second.yaml", "preload: [c]\nenvironment: {C: 3}\n")
    try folder.write("ollama-pool.d/.hidden.yaml", "nonsense: 1\n")
    try folder.write("ollama-pool.d/README", "nonsense: 1\n")
    let configuration = try ConfigurationReader.read(path: main)
    #expect(configuration.files == [main, first, second])
    #expect(configuration.settings.slots == 3 && configuration.settings.preload == ["c"])
    #expect(configuration.settings.environment == ["A": "1", "B": "2", "C": "3"])
    #expect(configuration.settings.models.mapValues(\.numCtx) == ["m": 512, "n": 1_024])
    #expect(configuration.settings.scaling.min == 2 && configuration.settings.scaling.max == 5)
    #expect(configuration.positions["slots"] == ConfigurationPosition(file: first, line: 1, column: 8))
    #expect(configuration.positions["scaling.min"]?.file == main)
    #expect(configuration.positions["scaling.max"]?.file == first)
    #expect(configuration.positions["environment.C"]?.file == second)
  }

  @Test("a contradiction between two files is found and shown where it stands")
  func contradictionAcrossFiles() throws {
    let folder = try TemporaryFolder()
    let main = try folder.write("pool.yaml", "scaling: {max: 2}\n")
    let dropIn = try folder.write("pool.d/a.yaml", "scaling:\n  min: 3\n")
    let error = #expect(throws: ConfigurationError.self) { try ConfigurationReader.read(path: main) }
    #expect(
      error?.description == "\(dropIn):2:8: scaling.min: 3 is more than scaling.max, 2; expected at most that")
  }

  @Test("a file that --config names must exist; the default one need not")
  func missing() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/none.yaml"
    let error = #expect(throws: ConfigurationError.self) { try ConfigurationReader.read(path: path) }
    #expect(
      error?.description
        == "\(path): file: does not exist; expected a configuration file; without --config the defaults apply")
    let defaults = try ConfigurationReader.read(path, mustExist: false)
    #expect(defaults.settings == Settings() && defaults.files == [])
  }

  @Test("a drop-in applies without a main file")
  func onlyDropIns() throws {
    let folder = try TemporaryFolder()
    let dropIn = try folder.write("none.d/a.yaml", "slots: 7")
    let configuration = try ConfigurationReader.read(folder.path + "/none.yaml", mustExist: false)
    #expect(configuration.files == [dropIn] && configuration.settings.slots == 7)
  }

  @Test("folders, pipes, other encodings and huge files are refused, not read")
  func unreadable() throws {
    let folder = try TemporaryFolder()
    func refusal(_ path: String) -> String {
      let error = #expect(throws: ConfigurationError.self) { try ConfigurationReader.read(path: path) }
      return error?.description ?? "accepted"
    }
    #expect(refusal(folder.path).hasSuffix("is no regular file; expected a regular file or a link to one"))
    #expect(refusal("/dev/zero").contains("is no regular file"))
    let latin = try folder.write("latin.yaml", Data([0x23, 0x0A, 0x73, 0xE4, 0x0A]))
    #expect(refusal(latin) == "\(latin):2:1: file: holds bytes that are no UTF-8; expected UTF-8")
    let limit = try folder.write("limit.yaml", String(repeating: "#\n", count: 1 << 19))
    #expect(try ConfigurationReader.read(path: limit).settings == Settings())
    let huge = try folder.write("huge.yaml", String(repeating: "#\n", count: 1 << 19) + "#")
    #expect(refusal(huge) == "\(huge): file: is too large; expected at most 1MiB")
  }

  @Test("problems of all files are reported, and up to twenty of each")
  func manyProblems() throws {
    let folder = try TemporaryFolder()
    let lines = (1...25).map { "unknown\($0)x: 1\n" }.joined()
    let main = try folder.write("pool.yaml", lines)
    try folder.write("pool.d/a.yaml", "slots: no\n")
    let error = #expect(throws: ConfigurationError.self) { try ConfigurationReader.read(path: main) }
    #expect(error?.problems.count == 21 && error?.omitted == 5)
    #expect(error?.problems.last?.key == "slots")
    #expect(error?.description.hasSuffix("\nand 5 more") == true)
  }
}
