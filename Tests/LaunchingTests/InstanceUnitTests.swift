import Foundation
import GPUInventory
import Glibc
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Launching
@testable import Systemd

@Suite struct InstanceUnitTests {
  /// Where people's homes are on any machine.
  private static let homes = "/home"
  private static let homeOfRoot = "/root"
  private static let installed = UnitOwner(folder: "/run/ollama-pool", isInstalled: true)

  private static let ollama = InstanceAccount(
    name: "ollama", userID: 901, home: "/usr/share/ollama", homeIsStateDirectory: false, groups: ["video"])
  private static let own = InstanceAccount(
    name: "ollama-pool-instance", userID: 900, home: "/var/lib/ollama-pool-instance", homeIsStateDirectory: true,
    groups: ["render", "video"])

  private func properties(
    _ specification: InstanceSpecification, as account: InstanceAccount = own, owner: UnitOwner = Self.installed
  ) -> [String: BusValue] {
    let list = InstanceUnit.properties(of: specification, port: 11500, owner: owner, as: account)
    #expect(Set(list.map(\.name)).count == list.count, "each property once")
    return Dictionary(list.map { ($0.name, $0.value) }) { first, _ in first }
  }

  private func nodes(_ value: BusValue?) -> [String] {
    value?.elements?.compactMap { $0.elements?.first?.text } ?? []
  }

  @Test func `names lead to ids and back, and foreign names to none`() {
    #expect(InstanceUnit.name("gpu0") == "ollama-instance-gpu0.service")
    for id in ["gpu0", "a.b-c_d", String(repeating: "x", count: 32)] as [String] {
      #expect(InstanceUnit.id(ofUnit: InstanceUnit.name(InstanceID(id)))?.name == id)
    }
    for name in [
      "ollama-instance-.service", "ollama-instance-GPU0.service", "ollama-instance-gpu0.socket", "ollama-pool.service",
      "ollama-instance-a b.service", "ollama-instance-\(String(repeating: "x", count: 33)).service",
    ] { #expect(InstanceUnit.id(ofUnit: name) == nil, "\(name)") }
  }

  @Test func `a unit is in the pool's slice, bound to neither daemon, and stops after the dispatcher`() {
    let unit = properties(.example())
    #expect(unit["Slice"]?.text == "ollamapool.slice")
    #expect(unit["PartOf"]?.texts == ["ollama-pool.target"])
    #expect(unit["Before"]?.texts == ["ollama-pool-dispatcher.service"])
    #expect(unit["BindsTo"] == nil && unit["Requires"] == nil)
    #expect(unit["Type"]?.text == "exec")
    #expect(unit["KillMode"]?.text == "mixed")
    #expect(unit["AddRef"]?.flag == true)
    #expect(unit["CollectMode"]?.text == "inactive-or-failed")
    #expect(unit["SyslogIdentifier"]?.text == "ollama-gpu0")
    #expect(unit["MemoryMax"] == nil)
    #expect(properties(.example { $0.memoryMax = .mebibytes(64) })["MemoryMax"]?.integer(as: Int.self) == 64 << 20)
    let fields = unit["LogExtraFields"]?.elements?.compactMap {
      $0.rawBytes.map { String(decoding: $0, as: UTF8.self) }
    }
    #expect(fields == ["POOL_INSTANCE=gpu0", "POOL_GPU=GPU-aaa"])
  }

  @Test func `a pool beside the installed one keeps its instances when that one's target stops`() {
    // Root's `serve` has the installed pool's folder while that one does not run.
    for folder in [owner.folder, Self.installed.folder] {
      let unit = properties(.example(), owner: UnitOwner(folder: folder, isInstalled: false))
      #expect(unit["PartOf"] == nil && unit["Before"] == nil)
      #expect(unit["Slice"]?.text == "ollamapool.slice")
    }
  }

  @Test func `it may open its own nodes and no others, none on the CPU, and any where they aren't known`() {
    let pinned = properties(.example())
    #expect(pinned["DevicePolicy"]?.text == "closed")
    #expect(nodes(pinned["DeviceAllow"]) == ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"])
    let cpu = properties(.example(gpus: []))
    #expect(cpu["DevicePolicy"]?.text == "closed")
    #expect(nodes(cpu["DeviceAllow"]) == [])
    #expect(cpu["Description"]?.text == "Ollama on the CPU (gpu0)")
    let unknown = properties(
      .example(gpus: [.nvidia("GPU-a", minor: 0), GPU(index: 1, uuid: "GPU-b", vendor: .nvidia)]))
    #expect(unknown["DevicePolicy"] == nil && unknown["DeviceAllow"] == nil)
  }

  @Test func `the package's user has its home in a state directory, and Ollama's user its own`() {
    let own = properties(.example())
    #expect(own["User"]?.text == "ollama-pool-instance")
    #expect(own["StateDirectory"]?.texts == ["ollama-pool-instance"])
    #expect(own["ReadWritePaths"]?.texts == [])
    #expect(own["Environment"]?.texts?.contains("HOME=/var/lib/ollama-pool-instance") == true)
    #expect(own["SupplementaryGroups"]?.texts == ["render", "video"])
    let ollama = properties(.example { $0.modelsPath = "/srv/models" }, as: Self.ollama)
    #expect(ollama["User"]?.text == "ollama")
    #expect(ollama["StateDirectory"] == nil)
    #expect(ollama["ReadWritePaths"]?.texts == ["/srv/models", "/usr/share/ollama"])
    #expect(ollama["Environment"]?.texts?.contains("HOME=/usr/share/ollama") == true)
    for account in [Self.own, Self.ollama] {
      let elsewhere = properties(.example { $0.environment = ["HOME": "/srv/home"] }, as: account)
      #expect(elsewhere["ReadWritePaths"]?.texts == ["/srv/home"])
      #expect(elsewhere["Environment"]?.texts?.contains("HOME=/srv/home") == true)
    }
  }

  @Test func `homes and temporary folders are hidden unless something of it is there`() {
    func protection(_ change: (inout Settings) -> Void, executable: String = "/usr/bin/ollama") -> [String?] {
      let unit = properties(.example(executable: executable, change))
      return [unit["ProtectHome"]?.text, unit["PrivateTmp"]?.flag.map { "\($0)" }]
    }
    #expect(protection({ _ in }) == ["yes", "true"])
    #expect(protection({ $0.modelsPath = "/homestead/models" }) == ["yes", "true"])
    #expect(protection({ $0.modelsPath = Self.homes + "/eva/models" }) == ["read-only", "true"])
    #expect(protection({ _ in }, executable: Self.homeOfRoot + "/ollama") == ["read-only", "true"])
    #expect(protection({ $0.modelsPath = "/tmp/models" }) == ["yes", "false"])
    #expect(protection({ _ in }, executable: "/var/tmp/o/ollama") == ["yes", "false"])
  }

  @Test func `what a link leads to is not hidden either`() throws {
    let folder = try TemporaryDirectory()
    let place = Self.homeOfRoot + "/launching-tests-\(getpid())"
    for link in ["ollama", "models"] { #expect(symlink(place + "/" + link, folder.path(to: link)) == 0) }
    func protection(_ specification: InstanceSpecification) -> String? {
      properties(specification)["ProtectHome"]?.text
    }
    let linked = InstanceSpecification.example(executable: folder.path(to: "ollama"))
    #expect(protection(linked) == "yes", "it leads nowhere")
    try #require(mkdir(place, 0o755) == 0)
    defer { try? FileManager.default.removeItem(atPath: place) }
    try "".write(toFile: place + "/ollama", atomically: false, encoding: .utf8)
    #expect(protection(linked) == "read-only")
    #expect(protection(.example { $0.modelsPath = folder.path(to: "models") }) == "yes", "it leads nowhere")
    try #require(mkdir(place + "/models", 0o755) == 0)
    #expect(protection(.example { $0.modelsPath = folder.path(to: "models") }) == "read-only")
  }

  @Test func `what is configured or inherited stands in no unit that everybody reads, but in a file`() throws {
    let folder = try TemporaryDirectory()
    let secret = "http://eva:pass \"word\\`$x@proxy:3128"
    let specification = InstanceSpecification.example(
      environment: ["TOKEN": secret, "HOME": "/srv/h"], inherited: ["HTTPS_PROXY": secret])
    let owner = UnitOwner(folder: "/run/tests", isInstalled: false, privateFolder: folder.path)
    let unit = properties(specification, owner: owner)
    let names = (unit["Environment"]?.texts ?? []).map { String($0.prefix { $0 != "=" }) }
    #expect(names.contains("HOME") && names.contains("OLLAMA_HOST") && !names.contains("TOKEN"))
    #expect(!names.contains("HTTPS_PROXY"))
    let path = folder.path(to: "gpu0.environment")
    #expect(unit["EnvironmentFiles"] == .array(of: "(sb)", [.structure([.string(path), .boolean(false)])]))

    let file = InstanceUnit.environmentFile(of: specification, owner: owner)
    for _ in 1...2 { try file.write() }
    let line = #""http://eva:pass \"word\\\`\$x@proxy:3128""#
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "HTTPS_PROXY=\(line)\nTOKEN=\(line)\n")
    var status = stat()
    #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
    #expect(properties(.example())["EnvironmentFiles"] == nil)
    try InstanceUnit.environmentFile(of: .example(), owner: owner).write()
    #expect(access(path, F_OK) != 0)
    // A user's manager tells that user alone.
    let users = InstanceUnit.properties(of: specification, port: 11500, owner: owner, home: "/home/eva")
    #expect(!users.contains { $0.name == "EnvironmentFiles" })
    #expect(users.first { $0.name == "Environment" }?.value.texts?.contains("TOKEN=\(secret)") == true)
  }

  @Test func `what the pool sets stands in the unit, whatever is configured, and all else in the file`() {
    let configured = ["HOME", "OLLAMA_NOPRUNE", "SWIFT_BACKTRACE", "OLLAMA_HOST", "OLLAMA_MODELS", "TOKEN"]
    let specification = InstanceSpecification.example(
      prunesStore: false, environment: Dictionary(uniqueKeysWithValues: configured.map { ($0, "mine") }))
    let own = specification.ownEnvironment(port: 11500, home: "/var/lib/x", hidingOtherGPUs: true)
    let parts = own + specification.privateEnvironment
    #expect(specification.privateEnvironment.map(\.name) == ["TOKEN"])
    #expect(parts.count == Set(parts.map(\.name)).count)
    #expect(Dictionary(uniqueKeysWithValues: parts.map { ($0.name, $0.value) }) == specification.variables)
    #expect(specification.variables["OLLAMA_MODELS"] == nil && specification.variables["HOME"] == "mine")
  }

  @Test func `what an older unit does not say of its GPUs is not known, and no word for the CPU`() {
    func gpus(_ variables: String...) -> [String]? {
      let status = UnitStatus(
        name: "ollama-instance-gpu0.service",
        properties: [
          "Environment": .strings(["OLLAMA_HOST=x", "POOL_SPECIFICATION=x", "POOL_OWNER=\(owner.folder)"] + variables),
          "InvocationID": .bytes(Array(repeating: 1, count: 16)),
        ])
      return InstanceUnit.read(status, owner: owner).ownUnit?.gpus
    }
    #expect(gpus() == nil && gpus("POOL_GPUS=") == [] && gpus("POOL_GPUS=A,B") == ["A", "B"])
    #expect(InstanceSpecification.example(gpus: []).variables["POOL_GPUS"] == "")
  }

  @Test func `only the network beyond this machine is closed, and how it stands is read back`() {
    let unit = properties(InstanceSpecification.example())
    #expect(unit["IPAddressDeny"]?.elements?.count == 2 && unit["IPAddressAllow"]?.elements?.count == 2)
    for isOpen in [false, true] {
      func read(_ closesNetwork: Bool) -> Bool? {
        let environment = ["OLLAMA_HOST=x", "POOL_SPECIFICATION=x", "POOL_OWNER=\(owner.folder)"]
        let status = UnitStatus(
          name: "ollama-instance-gpu0.service",
          properties: [
            "Environment": .strings(environment), "InvocationID": .bytes(Array(repeating: 1, count: 16)),
            "IPAddressDeny": UnitProperty.denyAddresses(!isOpen).value,
          ])
        return InstanceUnit.read(status, owner: owner, closesNetwork: closesNetwork).ownUnit?.hasNetwork
      }
      #expect(read(true) == isOpen)
      #expect(read(false) == nil)
    }
  }

  @Test func `a GPU runtime is not hindered`() {
    let unit = properties(.example())
    for name in ["MemoryDenyWriteExecute", "PrivateDevices", "ProcSubset", "RemoveIPC", "PrivateNetwork"] {
      #expect(unit[name] == nil, "\(name)")
    }
    #expect(unit["CapabilityBoundingSet"]?.integer(as: UInt64.self) == 0)
    #expect(unit["SystemCallErrorNumber"]?.integer(as: Int32.self) == EPERM)
  }

  @Test func `a user manager's unit asks for nothing that only root can have`() {
    let names = Set(
      InstanceUnit.properties(of: .example(), port: 11500, owner: owner, home: Self.homes + "/eva").map(\.name))
    let privileged: Set = [
      "User", "SupplementaryGroups", "StateDirectory", "CapabilityBoundingSet", "ProtectSystem", "ProtectHome",
      "PrivateTmp", "ReadWritePaths", "DevicePolicy", "DeviceAllow", "IPAddressDeny", "IPAddressAllow",
    ]
    #expect(names.isDisjoint(with: privileged))
    #expect(names.isSuperset(of: ["Slice", "ExecStart", "Environment", "NoNewPrivileges", "SystemCallFilter"]))
  }

  @Test func `a unit is read back as it was started`() throws {
    let specification = InstanceSpecification.example()
    let variables =
      specification.environment(port: 11509, home: "/x", hidingOtherGPUs: true) + [("POOL_OWNER", owner.folder)]
    let environment = variables.map { "\($0.name)=\($0.value)" }
    func status(_ environment: [String], invocation: UInt8 = 0xab) -> UnitStatus {
      UnitStatus(
        name: "ollama-instance-gpu0.service",
        properties: [
          "Environment": .strings(environment), "MainPID": .uint32(42),
          "InvocationID": .bytes(Array(repeating: invocation, count: 16)), "ActiveState": .string("active"),
          "ActiveEnterTimestampMonotonic": .uint64(5_000_000),
        ])
    }
    func read(_ status: UnitStatus) -> InstanceUnit.Reading { InstanceUnit.read(status, owner: owner) }
    #expect(
      read(status(environment))
        == .own(
          RunningInstance.Unit(
            invocation: InvocationID(String(repeating: "ab", count: 16)), mainPID: 42, address: "127.0.0.1:11509",
            specification: specification.digest, startedAt: Instant(nanoseconds: 5_000_000_000),
            gpus: specification.gpus.map(\.uuid), slots: specification.slots, hasNetwork: true)))
    #expect(specification.gpus.count == 1)
    #expect(InstanceUnit.read(status(environment), owner: otherOwner) == .others(owner: owner.folder))
    for name in ["OLLAMA_HOST=", "POOL_SPECIFICATION=", "POOL_OWNER="] {
      #expect(read(status(environment.filter { !$0.hasPrefix(name) })) == .foreign)
    }
    #expect(read(status(environment, invocation: 0)) == .foreign)
  }

  @Test func `ends are told in words`() {
    func reason(_ result: String, code: Int32 = 0, status: Int32 = 0) -> String {
      var state = UnitState(name: "ollama-instance-gpu0.service")
      (state.result, state.execMainCode, state.execMainStatus) = (result, code, status)
      return UnitEnd.reason(
        state, id: "gpu0",
        specification: .example {
          $0.memoryMax = .mebibytes(64)
          $0.modelsPath = "/srv/models"
          $0.instanceUser = "eva"
        })
    }
    let table: [(String, Int32, Int32, String)] = [
      ("success", 1, 0, "exit status 0"), ("success", 2, SIGTERM, "stopped"),
      ("exit-code", 1, 1, "exit status 1; journalctl POOL_INSTANCE=gpu0 has its own words"),
      ("exit-code", 1, 203, "exit status 203 (EXEC: /usr/bin/ollama is missing, or eva may not execute it)"),
      ("exit-code", 1, 217, "exit status 217 (USER: eva does not exist)"),
      ("exit-code", 1, 226, "/srv/models"), ("exit-code", 1, 219, "CGROUP"), ("exit-code", 1, 218, "CAPABILITIES"),
      ("exit-code", 1, 255, "exit status 255"),
      ("signal", 2, SIGKILL, "killed by SIGKILL"), ("core-dump", 3, SIGSEGV, "crashed with SIGSEGV"),
      ("oom-kill", 2, SIGKILL, "oom-kill: it ran out of memory (memory_max is 64MiB)"),
      ("timeout", 2, SIGKILL, "did not end within 10 s"), ("resources", 0, 0, "systemd could not set it up"),
      ("strange", 1, 5, "result 'strange', status 5"),
    ]
    for (result, code, status, words) in table {
      #expect(
        reason(result, code: code, status: status).contains(words), "\(reason(result, code: code, status: status))")
    }
  }

  @Test func `errors of systemd keep its words, and say of which kind they are`() {
    let table: [(SystemdError.Code, LaunchError.Code)] = [
      (.connectionLost, .unavailable), (.closed, .unavailable), (.timedOut, .timedOut), (.accessDenied, .refused),
      (.badUnitSetting, .refused), (.other("x"), .refused),
    ]
    for (code, expected) in table {
      let error = LaunchError(SystemdError(code, "its words", operation: "StartTransientUnit x"))
      #expect(error.code == expected)
      #expect(error.message == "StartTransientUnit x: its words")
    }
  }

  @Test func `an account is one that exists, has a home, and is not root`() throws {
    let daemon = try InstanceAccount.resolve("daemon")
    #expect(daemon.name == "daemon")
    #expect(daemon.home == "/usr/sbin" && !daemon.homeIsStateDirectory)
    let nobody = try InstanceAccount.resolve("nobody")
    #expect(nobody.home == "/var/lib/ollama-pool-instance" && nobody.homeIsStateDirectory)
    for (name, words) in [
      ("no-such-user", "no-such-user"), ("root", "never run as root"), ("ollama-pool", "ollama-pool"),
    ] {
      let error = #expect(throws: LaunchError.self) { try InstanceAccount.resolve(name) }
      #expect(error?.code == .unusableUser)
      #expect(error?.message.contains(words) == true)
    }
    #expect(User(named: "daemon")?.userID == 1)
    #expect(User(id: 1)?.name == "daemon")
    #expect(User.name(of: 4_000_000) == "4000000")
    #expect(User.groupID(named: "daemon") == 1 && User.groupID(named: "no-such-group") == nil)
  }
}
