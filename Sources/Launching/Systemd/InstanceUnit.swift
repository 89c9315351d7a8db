import Glibc
import PoolConfiguration
package import PoolCore
import Systemd

/// Whose units they are. Several pools may run on a machine, such as an installed one and a `serve` beside it; each
/// leaves the others' units alone.
package struct UnitOwner: Hashable, Sendable {
  /// That of the control sockets, which no two pools have in common at a time. Each unit says it in POOL_OWNER.
  package let folder: String
  /// Whether its units belong to `ollama-pool.target`, and stop with it.
  package let isInstalled: Bool
  /// Where files are kept that only its user reads.
  let privateFolder: String

  /// - Parameter privateFolder: nil for `folder`.
  package init(folder: String, isInstalled: Bool, privateFolder: String? = nil) {
    self.folder = folder
    self.isInstalled = isInstalled
    self.privateFolder = privateFolder ?? folder
  }
}

/// The transient unit of one instance: its name and its properties.
package enum InstanceUnit {
  package static let slice = "ollamapool.slice"
  static let namePrefix = "ollama-instance-"
  static let pattern = "ollama-instance-*.service"
  private static let nameSuffix = ".service"

  package static func name(_ id: InstanceID) -> String { namePrefix + id.name + nameSuffix }

  static func id(ofUnit name: String) -> InstanceID? {
    guard name.hasPrefix(namePrefix), name.hasSuffix(nameSuffix) else { return nil }
    return InstanceID(validating: name.dropFirst(namePrefix.count).dropLast(nameSuffix.count))
  }

  /// Whose a unit is.
  enum Reading: Equatable {
    case own(RunningInstance.Unit)
    /// That of the pool whose control sockets are in this folder.
    case others(owner: String)
    /// It has the name of an instance's, and nothing else.
    case foreign

    var ownUnit: RunningInstance.Unit? { if case .own(let unit) = self { unit } else { nil } }
  }

  /// What an adopted unit is, read back.
  /// - Parameter closesNetwork: whether its manager can, so that its settings say what holds.
  static func read(_ status: UnitStatus, owner: UnitOwner, closesNetwork: Bool = true) -> Reading {
    func value(_ name: String) -> String? { Self.value(in: status, name) }
    guard let invocation = status.state.invocationID, let address = value("OLLAMA_HOST"),
      let specification = value("POOL_SPECIFICATION"), let itsOwner = Self.owner(of: status)
    else { return .foreign }
    guard itsOwner == owner.folder else { return .others(owner: itsOwner) }
    return .own(
      RunningInstance.Unit(
        invocation: InvocationID(invocation), mainPID: status.state.mainPID ?? 0, address: address,
        specification: specification,
        startedAt: status.activeEnterTimestampMonotonic.map { Instant.zero + .microseconds(Int64(clamping: $0)) },
        gpus: value("POOL_GPUS").map { $0.split(separator: ",").map(String.init) },
        slots: value("OLLAMA_NUM_PARALLEL").flatMap { Int($0) },
        hasNetwork: closesNetwork ? !status.deniesAddresses : nil))
  }

  /// The owner's folder, also of a unit that does not run yet; nil for one that is no pool's.
  static func owner(of status: UnitStatus) -> String? { value(in: status, "POOL_OWNER") }

  private static func value(in status: UnitStatus, _ name: String) -> String? {
    status.environment.first { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.utf8.count + 1)) }
  }

  // MARK: Properties

  /// For the system manager, which gives the instance a user and a sandbox of its own.
  ///
  /// Follows links, on whatever server: see ``Patience/files``.
  static func properties(
    of specification: InstanceSpecification, port: UInt16, owner: UnitOwner, as account: InstanceAccount,
    on machine: MachineResources = .now
  ) -> [UnitProperty] {
    let home = home(of: specification, account)
    var properties = common(
      specification, port: port, owner: owner, home: home, hidingOtherGPUs: specification.hidesOtherGPUs,
      isPrivate: true, on: machine)
    let file = environmentFile(of: specification, owner: owner)
    if !file.variables.isEmpty { properties.append(.environmentFile(file.pattern)) }
    properties += [.user(account.name), .supplementaryGroups(account.groups), .umask(0o027)]
    if account.homeIsStateDirectory {
      properties += [.stateDirectory([InstanceAccount.ownName]), .stateDirectoryMode(0o750)]
    }
    properties += sandbox(specification, account: account, home: home)
    return properties
  }

  /// What ``properties(of:port:owner:as:on:)`` looks at.
  static func files(of specification: InstanceSpecification, as account: InstanceAccount) -> [String] {
    files(of: specification, home: home(of: specification, account))
  }

  private static func files(of specification: InstanceSpecification, home: String) -> [String] {
    let certificates = ["SSL_CERT_FILE", "SSL_CERT_DIR"].compactMap { specification.extraEnvironment[$0] }
    return [specification.storePath(home: home), home, specification.executable.path]
      + certificates.flatMap { $0.split(separator: ":").map(String.init) }
  }

  private static func home(of specification: InstanceSpecification, _ account: InstanceAccount) -> String {
    specification.extraEnvironment["HOME"] ?? account.home
  }

  /// For the manager of a user, who has no right to most of the sandbox and can't be another user.
  static func properties(
    of specification: InstanceSpecification, port: UInt16, owner: UnitOwner, home: String,
    on machine: MachineResources = .now
  ) -> [UnitProperty] {
    common(specification, port: port, owner: owner, home: home, hidingOtherGPUs: false, isPrivate: false, on: machine)
  }

  /// For the system manager, whose units' variables every user of the machine reads.
  static func environmentFile(of specification: InstanceSpecification, owner: UnitOwner) -> EnvironmentFile {
    EnvironmentFile(of: specification.id, in: owner.privateFolder, specification.privateEnvironment)
  }

  private static func common(
    _ specification: InstanceSpecification, port: UInt16, owner: UnitOwner, home: String, hidingOtherGPUs: Bool,
    isPrivate: Bool, on machine: MachineResources
  ) -> [UnitProperty] {
    let id = specification.id.name
    let gpus = specification.gpuNames
    var properties: [UnitProperty] = [
      .description("Ollama on \(gpus.isEmpty ? "the CPU" : gpus.joined(separator: " ")) (\(id))"),
      .slice(slice),
      .type(.exec), .execStart(specification.executable.path, ["serve"]),
      .environment(
        (isPrivate
          ? specification.ownEnvironment(port: port, home: home, hidingOtherGPUs: hidingOtherGPUs)
          : specification.environment(port: port, home: home, hidingOtherGPUs: hidingOtherGPUs))
          + [(name: "POOL_OWNER", value: owner.folder)]),
      .collectMode(.inactiveOrFailed), .addRef(true),
      .syslogIdentifier("ollama-\(id)"),
      .logExtraFields(
        [(name: "POOL_INSTANCE", value: id)] + (gpus.isEmpty ? [] : [("POOL_GPU", gpus.joined(separator: ","))])),
      // SIGTERM for the server, which ends its runners; SIGKILL for whatever is left when it is gone, which a killed
      // server's runners are.
      .killMode(.mixed), .killSignal(SIGTERM), .sendSIGKILL(true), .timeoutStop(InstanceSpecification.stopGrace),
      // A machine short of memory is to kill an instance, and not what others run.
      .limitNOFILE(65_536), .tasksMax(4096), .oomScoreAdjust(200),
      .noNewPrivileges(true), .restrictAddressFamilies(["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"]),
      // With an error, not with SIGSYS: GPU drivers try calls that they can do without.
      .systemCallFilter(["@system-service"]), UnitProperty("SystemCallErrorNumber", .int32(EPERM)),
      .systemCallArchitectures(["native"]),
    ]
    // Bound to neither daemon, so that it outlives both. When the target stops, the dispatcher drains first. What
    // another pool runs goes on.
    if owner.isInstalled {
      properties += [.partOf(["ollama-pool.target"]), .before(["ollama-pool-dispatcher.service"])]
    }
    if let memoryMax = specification.memoryMax { properties.append(.memoryMax(bytes: UInt64(memoryMax.bytes))) }
    let local = LocalResources(of: specification, on: machine)
    if !local.cpus.isEmpty { properties.append(.cpuAffinity(local.cpus)) }
    if let node = local.memoryNode { properties += UnitProperty.preferredMemory(ofNode: node) }
    return properties
  }

  /// Without what keeps a unit beside its GPU, which systemd takes for a condition of the start.
  static func unbound(_ properties: [UnitProperty]) -> [UnitProperty] {
    properties.filter { !["CPUAffinity", "NUMAPolicy", "NUMAMask"].contains($0.name) }
  }

  /// What a GPU runtime needs stays open: no MemoryDenyWriteExecute (it compiles at run time), no PrivateDevices (it
  /// would hide the GPUs), no ProcSubset (/proc/driver/nvidia). RemoveIPC would take shared memory from the other
  /// instances of the same user. A store that is the pool's stays writable for all, with no BindReadOnlyPaths: any of
  /// them may become the one that a pull goes through, and unlike the network that can't be changed while it runs.
  private static func sandbox(
    _ specification: InstanceSpecification, account: InstanceAccount, home: String
  ) -> [UnitProperty] {
    let store = specification.storePath(home: home)
    let writable =
      (specification.ownsStore ? [specification.modelsPath].compactMap { $0 } : [])
      + (account.homeIsStateDirectory && home == account.home ? [] : [home])
    let named = files(of: specification, home: home)
    // What is hidden is hidden from whoever follows a link into it, too.
    let needed = named + named.compactMap(RealPath.of)
    let isInHomes = needed.contains { $0.isBelow(anyOf: ["/home", "/root", "/run/user"]) }
    let isInTemporary = needed.contains { $0.isBelow(anyOf: ["/tmp", "/var/tmp"]) }
    var properties: [UnitProperty] = [
      .capabilityBoundingSet(0), .protectSystem(.strict), .protectHome(isInHomes ? .readOnly : .yes),
      .privateTmp(!isInTemporary), .readWritePaths(writable),
      // A path with .. in it systemd refuses; where it leads to is named as well.
      .requiresMountsFor(
        Set([store, home] + [store, home].compactMap(RealPath.of)).filter { !$0.split(separator: "/").contains("..") }
          .sorted()),
      .enable(.protectControlGroups), .enable(.protectHostname), .enable(.protectKernelLogs),
      .enable(.protectKernelModules), .enable(.protectKernelTunables), .enable(.restrictRealtime),
      .enable(.restrictSUIDSGID), .enable(.lockPersonality),
    ]
    if !specification.ownsStore { properties.append(.readOnlyPaths(["-" + store])) }
    // The one that models are pulled through gets its way out (a resolver that is not on the loopback interface
    // included) while it runs: see ``Launcher/setNetwork(_:_:open:)``.
    properties += [.allowLoopback, .denyAddresses(true)]
    if specification.hidesOtherGPUs {
      properties += [
        .devicePolicy(.closed), .deviceAllow(specification.deviceNodes.map { (path: $0, permissions: "rw") }),
      ]
    }
    return properties
  }
}

extension String {
  fileprivate func isBelow(anyOf folders: [String]) -> Bool { folders.contains(where: isBelow) }
}
