/// What a unit is doing, as its `ActiveState` says.
package enum ActiveState: Hashable, Sendable {
  case active, reloading, inactive, failed, activating, deactivating
  /// A state of a later systemd, such as "refreshing".
  case other(String)

  init(_ text: String) {
    switch text {
    case "active": self = .active
    case "reloading": self = .reloading
    case "inactive": self = .inactive
    case "failed": self = .failed
    case "activating": self = .activating
    case "deactivating": self = .deactivating
    default: self = .other(text)
    }
  }
}

/// What a job came to. A start whose program can't be executed is ``failed`` (with `Type=exec`).
package enum JobResult: Hashable, Sendable {
  case done, canceled, timeout, failed, dependency, skipped
  case other(String)

  init(_ text: String) {
    switch text {
    case "done": self = .done
    case "canceled": self = .canceled
    case "timeout": self = .timeout
    case "failed": self = .failed
    case "dependency": self = .dependency
    case "skipped": self = .skipped
    default: self = .other(text)
    }
  }
}

/// The part of a service that changes while it lives.
package struct UnitState: Equatable, Sendable {
  package let name: String
  package internal(set) var activeState = ActiveState.inactive
  /// nil where no main process runs.
  package internal(set) var mainPID: Int32?
  /// The last main process, also after its end; nil before the first.
  package internal(set) var execMainPID: Int32?
  /// 32 lowercase hexadecimal digits that name this activation, nil before the first.
  package internal(set) var invocationID: String?
  /// Why it failed: "success", "exit-code", "signal", "core-dump", "timeout", "watchdog", "oom-kill", "resources"…
  package internal(set) var result = ""
  /// How the main process ended: CLD_EXITED (1), CLD_KILLED (2), CLD_DUMPED (3), or 0 while it has not.
  package internal(set) var execMainCode: Int32 = 0
  /// The exit status, or the signal's number, by ``execMainCode``; 203 is systemd's "could not execute".
  package internal(set) var execMainStatus: Int32 = 0

  init(name: String) { self.name = name }

  /// Takes over what `properties` of either interface tell, and leaves the rest.
  mutating func update(from properties: [String: BusValue]) {
    if let text = properties["ActiveState"]?.text { activeState = ActiveState(text) }
    if let value = properties["MainPID"]?.integer(as: Int32.self) { mainPID = value == 0 ? nil : value }
    if let value = properties["ExecMainPID"]?.integer(as: Int32.self) { execMainPID = value == 0 ? nil : value }
    if let bytes = properties["InvocationID"]?.rawBytes { invocationID = Self.hexadecimal(bytes) }
    if let text = properties["Result"]?.text { result = text }
    if let value = properties["ExecMainCode"]?.integer(as: Int32.self) { execMainCode = value }
    if let value = properties["ExecMainStatus"]?.integer(as: Int32.self) { execMainStatus = value }
  }

  /// As systemd writes its 128-bit IDs; nil for that of nothing, all zeros.
  static func hexadecimal(_ bytes: [UInt8]) -> String? {
    guard bytes.contains(where: { $0 != 0 }) else { return nil }
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}

/// What is read back of a unit: its state, and how it was made.
package struct UnitStatus: Equatable, Sendable {
  package let state: UnitState
  /// "NAME=value" each, in order, without what files add.
  package let environment: [String]
  /// EnvironmentFile= each.
  package let environmentFiles: [String]
  /// The path of the program of its first ExecStart=.
  package let program: String?
  /// Such as "enabled", "disabled" and "masked"; nil where there is no file.
  package let fileState: String?
  /// The user that it runs as; nil for root, or its manager's own.
  package let user: String?
  /// Whether addresses are denied to it, by its own settings.
  package let deniesAddresses: Bool
  /// When it last became active, in microseconds of CLOCK_MONOTONIC; nil if it never did.
  package let activeEnterTimestampMonotonic: UInt64?
  /// Made over the bus. False for one that has a file, also where the file masks it.
  package let isTransient: Bool

  /// - Parameter properties: of the interfaces Unit and Service together.
  init(name: String, properties: [String: BusValue]) {
    var state = UnitState(name: name)
    state.update(from: properties)
    self.state = state
    environment = properties["Environment"]?.texts ?? []
    environmentFiles = properties["EnvironmentFiles"]?.elements?.compactMap { $0.elements?.first?.text } ?? []
    program = properties["ExecStart"]?.elements?.first?.elements?.first?.text
    fileState = properties["UnitFileState"]?.text.flatMap { $0.isEmpty ? nil : $0 }
    user = properties["User"]?.text.flatMap { $0.isEmpty ? nil : $0 }
    deniesAddresses = properties["IPAddressDeny"]?.elements?.isEmpty == false
    activeEnterTimestampMonotonic =
      properties["ActiveEnterTimestampMonotonic"]?.integer().flatMap { $0 == 0 ? nil : $0 }
    isTransient = properties["Transient"]?.flag ?? false
  }
}
