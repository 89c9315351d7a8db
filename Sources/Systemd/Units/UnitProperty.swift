import Glibc

/// One setting of a transient unit, with the D-Bus type that systemd wants for it. Named as in systemd.exec(5),
/// systemd.service(5), systemd.unit(5) and so on; only what the pool uses.
package struct UnitProperty: Equatable, Sendable {
  package let name: String
  package let value: BusValue

  package init(_ name: String, _ value: BusValue) {
    self.name = name
    self.value = value
  }

  private static func text(_ name: String, _ text: String) -> UnitProperty { .init(name, .string(text)) }
  private static func texts(_ name: String, _ texts: [String]) -> UnitProperty { .init(name, .strings(texts)) }
  private static func flag(_ name: String, _ on: Bool) -> UnitProperty { .init(name, .boolean(on)) }
}

// MARK: The unit

extension UnitProperty {
  package enum CollectMode: String, Sendable {
    case inactive
    case inactiveOrFailed = "inactive-or-failed"
  }

  package static func description(_ text: String) -> Self { .text("Description", text) }
  package static func slice(_ name: String) -> Self { .text("Slice", name) }
  package static func partOf(_ units: [String]) -> Self { .texts("PartOf", units) }
  package static func before(_ units: [String]) -> Self { .texts("Before", units) }
  /// The mounts that these paths are on are there before the unit starts, and it does not start without them.
  package static func requiresMountsFor(_ paths: [String]) -> Self { .texts("RequiresMountsFor", paths) }
  /// Whether a failed unit is unloaded too, and its result with it unless someone holds a reference.
  package static func collectMode(_ mode: CollectMode) -> Self { .text("CollectMode", mode.rawValue) }
  /// The connection that starts the unit holds a reference to it, so that its result can be read after its end.
  package static func addRef(_ on: Bool) -> Self { .flag("AddRef", on) }
}

// MARK: The service

extension UnitProperty {
  package enum ServiceType: String, Sendable {
    case exec, notify
  }

  package enum KillMode: String, Sendable {
    case mixed
  }

  package static func type(_ type: ServiceType) -> Self { .text("Type", type.rawValue) }

  /// The program and its arguments, taken literally: `$` is escaped, since systemd would expand it. (It expands no
  /// `%` in what comes over D-Bus.)
  package static func execStart(_ program: String, _ arguments: [String] = []) -> Self {
    let command = ([program] + arguments).map { BusValue.string($0.escapingDollars) }
    return .init(
      "ExecStart",
      .array(of: "(sasb)", [.structure([.string(program), .array(of: "s", command), .boolean(false)])]))
  }

  package static func killMode(_ mode: KillMode) -> Self { .text("KillMode", mode.rawValue) }
  package static func killSignal(_ signal: Int32) -> Self { .init("KillSignal", .int32(signal)) }
  package static func sendSIGKILL(_ on: Bool) -> Self { .flag("SendSIGKILL", on) }
  package static func timeoutStop(_ time: Duration) -> Self { .init("TimeoutStopUSec", .uint64(time.microseconds)) }
}

// MARK: What the program finds

extension UnitProperty {
  package static func environment(_ variables: [(name: String, value: String)]) -> Self {
    .texts("Environment", variables.map { "\($0.name)=\($0.value)" })
  }

  /// Variables that stand in a file; where one can't be read the unit does not start.
  package static func environmentFile(_ path: String) -> Self {
    .init("EnvironmentFiles", .array(of: "(sb)", [.structure([.string(path), .boolean(false)])]))
  }

  /// systemd gets copies of these.
  package static func standardInput(_ descriptor: Int32) -> Self {
    .init("StandardInputFileDescriptor", .fileDescriptor(descriptor))
  }
  package static func standardOutput(_ descriptor: Int32) -> Self {
    .init("StandardOutputFileDescriptor", .fileDescriptor(descriptor))
  }

  package static func user(_ name: String) -> Self { .text("User", name) }
  package static func supplementaryGroups(_ names: [String]) -> Self { .texts("SupplementaryGroups", names) }
  package static func umask(_ mask: UInt32) -> Self { .init("UMask", .uint32(mask)) }
  /// Below /var/lib, made for the unit's user; the environment has STATE_DIRECTORY.
  package static func stateDirectory(_ names: [String]) -> Self { .texts("StateDirectory", names) }
  package static func stateDirectoryMode(_ mode: UInt32) -> Self { .init("StateDirectoryMode", .uint32(mode)) }
  package static func syslogIdentifier(_ name: String) -> Self { .text("SyslogIdentifier", name) }
  /// Journal fields that every line of the unit's output gets.
  package static func logExtraFields(_ fields: [(name: String, value: String)]) -> Self {
    .init("LogExtraFields", .array(of: "ay", fields.map { .bytes(Array("\($0.name)=\($0.value)".utf8)) }))
  }
}

// MARK: Resources

extension UnitProperty {
  package static func memoryMax(bytes: UInt64) -> Self { .init("MemoryMax", .uint64(bytes)) }
  package static func tasksMax(_ count: UInt64) -> Self { .init("TasksMax", .uint64(count)) }
  package static func limitNOFILE(_ count: UInt64) -> Self { .init("LimitNOFILE", .uint64(count)) }
  /// From −1000 (never killed) to 1000 (killed first).
  package static func oomScoreAdjust(_ value: Int32) -> Self { .init("OOMScoreAdjust", .int32(value)) }
}

// MARK: CPUs and memory beside a device

extension UnitProperty {
  /// The only CPUs that the processes run on, by number. systemd fails the start (status 215) if there is none of them.
  package static func cpuAffinity(_ cpus: [Int]) -> Self { .init("CPUAffinity", .bytes(mask(cpus))) }

  /// Memory of this node while there is some, else of others. systemd fails the start (status 242) if there is no such
  /// node, or it has no memory.
  package static func preferredMemory(ofNode node: Int) -> [Self] {
    [.init("NUMAPolicy", .int32(1)), .init("NUMAMask", .bytes(mask([node])))]
  }

  /// Bit n % 8 of byte n / 8, as short as can be.
  private static func mask(_ numbers: [Int]) -> [UInt8] {
    let numbers = numbers.filter { $0 >= 0 }
    var mask = [UInt8](repeating: 0, count: numbers.max().map { $0 / 8 + 1 } ?? 0)
    for number in numbers { mask[number / 8] |= 1 << (number % 8) }
    return mask
  }
}

// MARK: Network

extension UnitProperty {
  /// Addresses that are never denied: the loopback ones. To be set also where nothing is denied (yet): systemd 252
  /// leaves a rule in force that is taken back from a unit which then has none left.
  package static let allowLoopback = addresses("IPAddressAllow", [([127, 0, 0, 0], 8), (ipv6Loopback, 128)])

  /// All other addresses are denied, or none. On a unit that runs this holds for packets from then on. A user's manager
  /// has no right to it.
  package static func denyAddresses(_ on: Bool) -> Self {
    // An empty list ends what was set before; any other is added to it.
    let all: [(bytes: [UInt8], prefix: UInt32)] = [([0, 0, 0, 0], 0), ([UInt8](repeating: 0, count: 16), 0)]
    return addresses("IPAddressDeny", on ? all : [])
  }

  private static let ipv6Loopback = [UInt8](repeating: 0, count: 15) + [1]

  private static func addresses(_ name: String, _ ranges: [(bytes: [UInt8], prefix: UInt32)]) -> Self {
    .init(
      name,
      .array(
        of: "(iayu)",
        ranges.map {
          .structure([.int32($0.bytes.count == 4 ? AF_INET : AF_INET6), .bytes($0.bytes), .uint32($0.prefix)])
        }))
  }
}

// MARK: Devices

extension UnitProperty {
  package enum DevicePolicy: String, Sendable {
    case closed
  }

  package static func devicePolicy(_ policy: DevicePolicy) -> Self { .text("DevicePolicy", policy.rawValue) }
  /// A node that is missing when the unit starts fails nothing, and is denied: check first that it is there.
  package static func deviceAllow(_ nodes: [(path: String, permissions: String)]) -> Self {
    .init(
      "DeviceAllow", .array(of: "(ss)", nodes.map { .structure([.string($0.path), .string($0.permissions)]) }))
  }
}

// MARK: Sandbox

extension UnitProperty {
  package enum ProtectSystem: String, Sendable {
    case strict
  }

  package enum ProtectHome: String, Sendable {
    case yes
    case readOnly = "read-only"
  }

  /// The protections that are only on or off.
  package enum Protection: String, Sendable, CaseIterable {
    case protectControlGroups = "ProtectControlGroups"
    case protectHostname = "ProtectHostname"
    case protectKernelLogs = "ProtectKernelLogs"
    case protectKernelModules = "ProtectKernelModules"
    case protectKernelTunables = "ProtectKernelTunables"
    case restrictRealtime = "RestrictRealtime"
    case restrictSUIDSGID = "RestrictSUIDSGID"
    case lockPersonality = "LockPersonality"
    case privateDevices = "PrivateDevices"
    case privateNetwork = "PrivateNetwork"
    case memoryDenyWriteExecute = "MemoryDenyWriteExecute"
  }

  package static func enable(_ protection: Protection) -> Self { .flag(protection.rawValue, true) }
  package static func privateTmp(_ on: Bool) -> Self { .flag("PrivateTmp", on) }
  package static func noNewPrivileges(_ on: Bool) -> Self { .flag("NoNewPrivileges", on) }
  package static func protectSystem(_ level: ProtectSystem) -> Self { .text("ProtectSystem", level.rawValue) }
  package static func protectHome(_ level: ProtectHome) -> Self { .text("ProtectHome", level.rawValue) }
  /// Read-only, also below a path that may be written to.
  package static func readOnlyPaths(_ paths: [String]) -> Self { .texts("ReadOnlyPaths", paths) }
  package static func readWritePaths(_ paths: [String]) -> Self { .texts("ReadWritePaths", paths) }
  /// A mask of 1 << CAP_…; 0 leaves none.
  package static func capabilityBoundingSet(_ mask: UInt64) -> Self { .init("CapabilityBoundingSet", .uint64(mask)) }
  /// Only these, such as "AF_UNIX".
  package static func restrictAddressFamilies(_ families: [String]) -> Self {
    .init("RestrictAddressFamilies", .structure([.boolean(true), .strings(families)]))
  }
  /// Only these calls and groups, such as "@system-service".
  package static func systemCallFilter(_ calls: [String]) -> Self {
    .init("SystemCallFilter", .structure([.boolean(true), .strings(calls)]))
  }
  package static func systemCallArchitectures(_ names: [String]) -> Self { .texts("SystemCallArchitectures", names) }
}

extension String {
  fileprivate var escapingDollars: String {
    split(separator: "$", omittingEmptySubsequences: false).joined(separator: "$$")
  }
}

extension Duration {
  /// systemd's unit of time; negative durations count as none, and what is too long as for ever.
  var microseconds: UInt64 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    let (scaled, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000)
    return overflow ? .max : scaled + UInt64(attoseconds / 1_000_000_000_000)
  }
}
