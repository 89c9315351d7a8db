import GPUInventory
import PoolConfiguration
import PoolCore
import Testing

@testable import Launching

@Suite struct SpecificationTests {
  // MARK: Environment

  @Test func `an instance on an NVIDIA GPU sees that GPU and no other device`() {
    let variables = InstanceSpecification.example().variables
    #expect(
      variables == [
        "CUDA_VISIBLE_DEVICES": "GPU-aaa", "ROCR_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1",
        "GGML_VK_VISIBLE_DEVICES": "-1", "OLLAMA_VULKAN": "0", "OLLAMA_HOST": "127.0.0.1:11500", "POOL_PORT": "11500",
        "OLLAMA_NUM_PARALLEL": "1", "HOME": "/var/lib/x", "POOL_INSTANCE": "gpu0",
        "POOL_GPUS": "GPU-aaa",
        "POOL_SPECIFICATION": InstanceSpecification.example().digest, "SWIFT_BACKTRACE": "enable=no",
      ])
  }

  @Test func `pins are those of the GPUs' vendors`() {
    let rocm = [GPU.amd("GPU-r1", render: 128), .amd("GPU-r2", render: 129)]
    let cases: [(gpus: [GPU], cuda: String?, rocr: String, hip: String?)] = [
      ([], "-1", "-1", "-1"),
      ([.nvidia("GPU-b", minor: 1), .nvidia("GPU-a", minor: 0)], "GPU-b,GPU-a", "-1", "-1"),
      // AMD's runtime takes CUDA_VISIBLE_DEVICES for its own where HIP_VISIBLE_DEVICES is not set.
      (rocm, "-1", "GPU-r1,GPU-r2", "0,1"),
      ([.nvidia("MIG-c1", minor: 0)], "MIG-c1", "-1", "-1"),
      ([.nvidia("GPU-a", minor: 0)] + rocm, "GPU-a", "GPU-r1,GPU-r2", "0,1"),
    ]
    for (gpus, cuda, rocr, hip) in cases {
      let variables = InstanceSpecification.example(gpus: gpus).variables
      #expect(variables["CUDA_VISIBLE_DEVICES"] == cuda)
      #expect(variables["ROCR_VISIBLE_DEVICES"] == rocr)
      #expect(variables["HIP_VISIBLE_DEVICES"] == hip)
      #expect(variables["OLLAMA_VULKAN"] == "0")
      #expect(variables["GGML_VK_VISIBLE_DEVICES"] == "-1")
    }
  }

  @Test func `a GPU without a UUID goes by its runtime's number, which counts from what device rules leave`() {
    var gpu = GPU.amd("AMD-0000-43-00-0", render: 129)
    (gpu.runtimeIndex, gpu.isNamedByAddress) = (2, true)
    let specification = InstanceSpecification.example(gpus: [gpu])
    #expect(specification.variables()["ROCR_VISIBLE_DEVICES"] == "0")
    #expect(specification.variables(hidingOtherGPUs: false)["ROCR_VISIBLE_DEVICES"] == "2")
    #expect(specification.variables()["POOL_GPUS"] == "AMD-0000-43-00-0")
    #expect(specification.variables()["HIP_VISIBLE_DEVICES"] == "0")
  }

  @Test func `what is configured gets to Ollama, and what is not stays its own choice`() {
    let plain = InstanceSpecification.example().variables
    for name in ["OLLAMA_MODELS", "OLLAMA_CONTEXT_LENGTH", "OLLAMA_KEEP_ALIVE", "OLLAMA_NOPRUNE"] {
      #expect(plain[name] == nil)
    }
    let configured = InstanceSpecification.example(prunesStore: false) { settings in
      settings.slots = 4
      settings.modelsPath = "/srv/models"
      settings.contextLength = 8192
      settings.keepAlive = .forever
    }.variables
    #expect(configured["OLLAMA_NUM_PARALLEL"] == "4")
    #expect(configured["OLLAMA_MODELS"] == "/srv/models")
    #expect(configured["OLLAMA_CONTEXT_LENGTH"] == "8192")
    #expect(configured["OLLAMA_KEEP_ALIVE"] == "-1")
    #expect(configured["OLLAMA_NOPRUNE"] == "1")
  }

  @Test func `a placement's variables win over the pool's, and the pool's own over both`() {
    let variables = InstanceSpecification.example(
      environment: ["A": "placement", "OLLAMA_HOST": "0.0.0.0", "CUDA_VISIBLE_DEVICES": "GPU-other"]
    ) { $0.environment = ["A": "pool", "B": "pool", "HOME": "/srv/home"] }.variables
    #expect(variables["A"] == "placement")
    #expect(variables["B"] == "pool")
    #expect(variables["HOME"] == "/srv/home")
    #expect(variables["OLLAMA_HOST"] == "127.0.0.1:11500")
    #expect(variables["CUDA_VISIBLE_DEVICES"] == "GPU-aaa")
  }

  // MARK: Digest

  @Test func `every input changes the digest`() {
    let base = InstanceSpecification.example()
    let changes: [(String, (inout InstanceSpecification) -> Void)] = [
      ("id", { $0.id = "gpu1" }),
      ("GPU", { $0.gpus[0].uuid = "GPU-bbb" }),
      ("another GPU", { $0.gpus.append($0.gpus[0]) }),
      ("no GPU", { $0.gpus = [] }),
      ("vendor", { $0.gpus[0].vendor = .amd }),
      ("node", { $0.gpus[0].deviceNodes[0] = "/dev/nvidia1" }),
      ("one node less", { $0.gpus[0].deviceNodes.removeLast() }),
      ("path", { $0.executable.path = "/opt/ollama/bin/ollama" }),
      ("size", { $0.executable.identity.size += 1 }),
      ("time of change", { $0.executable.identity.modified += 1 }),
      ("inode", { $0.executable.identity.inode += 1 }),
      ("slots", { $0.slots = 2 }),
      ("models", { $0.modelsPath = "/srv/models" }),
      ("context", { $0.contextLength = 4096 }),
      ("keep_alive", { $0.keepAlive = .duration(.seconds(60)) }),
      ("environment", { $0.extraEnvironment["A"] = "1" }),
      ("empty variable", { $0.extraEnvironment["A"] = "" }),
      ("user", { $0.user = "ollama" }),
      ("memory", { $0.memoryMax = .mebibytes(512) }),
      ("CPUs", { $0.cpus = [0, 1] }),
      ("other CPUs", { $0.cpus = [0, 2] }),
      ("nodes", { $0.numaNodes = [0, 1] }),
      ("a store of others", { $0.ownsStore = false }),
    ]
    var digests = [base.digest: "nothing"]
    for (what, change) in changes {
      var changed = base
      change(&changed)
      #expect(digests.updateValue(what, forKey: changed.digest) == nil, "\(what)")
      let isNear = ["CPUs", "other CPUs", "nodes"].contains(what)
      let isOfPins = ["vendor", "node", "one node less"].contains(what)
      #expect((changed.digest(.pinned) == base.digest(.pinned)) == isNear, "\(what)")
      #expect((changed.digest(.withoutPins) == base.digest(.withoutPins)) == (isNear || isOfPins), "\(what)")
      #expect(changed.digest.hasPrefix(changed.digest(.pinned)))
      #expect(changed.digest(.pinned).hasPrefix(changed.digest(.withoutPins)))
    }
  }

  @Test func `whether it may prune the store makes no other instance of it`() {
    #expect(InstanceSpecification.example(prunesStore: false).digest == InstanceSpecification.example().digest)
  }

  @Test func `CPUs and nodes are sets`() {
    var (one, other) = (InstanceSpecification.example(), InstanceSpecification.example())
    (one.cpus, one.numaNodes) = ([2, 0, 1], [1, 0])
    (other.cpus, other.numaNodes) = ([0, 1, 2, 2], [0, 1])
    #expect(one.digest == other.digest)
  }

  @Test func `what steers no instance is the operator's to set`() {
    let set = ["OLLAMA_NOPRUNE": "0", "SWIFT_BACKTRACE": "enable=yes"]
    let variables = InstanceSpecification.example(prunesStore: false) { $0.environment = set }.variables
    #expect(variables.filter { set[$0.key] != nil } == set)
    #expect(InstanceSpecification.example { $0.environment = set }.variables["OLLAMA_NOPRUNE"] == "0")
  }

  @Test func `the digest is the same for the same values in another order, and in another process`() {
    let names = (0..<40).map { "V\($0)" }
    let forward = InstanceSpecification.example { settings in
      for name in names { settings.environment[name] = name }
    }
    var backward = InstanceSpecification.example { settings in
      settings.environment.reserveCapacity(1000)
      for name in names.reversed() { settings.environment[name] = name }
    }
    backward.gpus[0].deviceNodes.reverse()
    #expect(forward.digest == backward.digest)
    // Units of the version before this one are adopted only while this holds: a new value replaces every instance.
    #expect(InstanceSpecification.example().digest == "06cfd49aa4e84cb2ad31c14e545e01c8ade486252a7f2d39")
  }

  @Test func `a fingerprint knows where one text ends and the next begins`() {
    func fingerprint(_ texts: String...) -> String {
      var fingerprint = Fingerprint()
      for text in texts { fingerprint.add(text) }
      return fingerprint.hexadecimal
    }
    #expect(fingerprint("ab", "c") != fingerprint("a", "bc"))
    #expect(fingerprint("a") != fingerprint("a", ""))
    #expect(fingerprint() == "cbf29ce484222325")
    #expect(Set((0..<5000).map { fingerprint("\($0)") }).allSatisfy { $0.utf8.count == 16 })
  }

  @Test func `an instance of a placement has its name and slots, and the GPUs' nodes`() {
    let specification = InstanceSpecification.make(
      Placement(id: "pair", gpus: ["GPU-a", "GPU-b"], slots: 3),
      on: [.nvidia("GPU-a", minor: 0), .nvidia("GPU-b", minor: 1)], settings: Settings(), store: .owned(at: nil),
      ollama: InstanceSpecification.example().executable)
    #expect(specification.id == "pair")
    #expect(specification.slots == 3)
    #expect(specification.deviceNodes == ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"])
  }
}

@Suite struct InstancePortTests {
  @Test func `the first attempt of placement n has the first port plus n`() throws {
    for index in 0..<8 {
      let port = try InstancePort.port(first: 11500, placement: index, of: 8, attempt: 0)
      #expect(port == 11500 + UInt16(index))
    }
  }

  @Test func `attempts go through the placement's own ports and begin again`() throws {
    let ports = try (0...65).map { try InstancePort.port(first: 11500, placement: 1, of: 4, attempt: $0) }
    #expect(ports.prefix(3) == [11501, 11505, 11509])
    #expect(ports[63] == 11753)
    #expect(ports[64] == 11501)
    #expect(try InstancePort.port(first: 11500, placement: 0, of: 1, attempt: 255) == 11755)
    #expect(try InstancePort.port(first: 11500, placement: 0, of: 1, attempt: .max) < 11756)
  }

  @Test func `no two placements ever have the same port, and all stay within the span`() throws {
    for count in [1, 2, 3, 7, 16, 99, Placement.most] {
      var owners: [UInt16: Int] = [:]
      for index in 0..<count {
        for attempt in [0, 1, 2, 3, 30, 60, 127, 128, 255, 256] {
          let port = try InstancePort.port(first: 20000, placement: index, of: count, attempt: attempt)
          #expect((20000..<20256).contains(port))
          #expect(owners[port] == nil || owners[port] == index)
          owners[port] = index
        }
      }
    }
  }

  @Test func `there is no port beyond 65535`() throws {
    let error = #expect(throws: LaunchError.self) {
      try InstancePort.port(first: 65500, placement: 40, of: 41, attempt: 0)
    }
    #expect(error?.code == .noPort)
    #expect(error?.message.contains("instance_ports") == true)
  }
}
