import GPUInventory
import Glibc
import Launching
import PoolConfiguration
import Systemd

/// Who else is on the GPUs: Ollama's own service, servers that somebody has started, other programs.
enum SharingExamination {
  /// Ollama's own service, under one of the managers.
  struct Unit: Equatable, Sendable {
    var isUsers = false
    var isRunning: Bool
    /// Whether it starts by itself.
    var isEnabled: Bool

    fileprivate var who: String { isUsers ? "Ollama's own service, of your user manager," : "Ollama's own service" }
    fileprivate var command: String { isUsers ? "systemctl --user" : "systemctl" }

    fileprivate func runs(_ process: SeenProcess) -> Bool {
      process.owner == .service(OllamaService.unit, user: isUsers ? geteuid() : nil)
    }
  }

  /// A port of the pool's that another program holds.
  struct HeldPort: Equatable, Sendable {
    var address: String
    var process: Int32?
    var owner: ControlGroupOwner?
  }

  /// - Parameters:
  ///   - units: those that there are.
  ///   - servers: every `ollama serve`.
  static func findings(
    units: [Unit], servers: [SeenProcess], _ facts: GPUFacts?, ports: [HeldPort] = [], busyMemory: ByteCount
  ) -> [Finding] {
    let others = servers.filter { !$0.isPools }
    let services = units.map { unit in finding(unit, takes(facts, ports, unit.runs)) }
    let strays = others.filter { server in !units.contains { $0.isRunning && $0.runs(server) } }
    let findings =
      services
      + strays.map { server in
        stray(server, takes(facts, ports) { $0.processID == server.processID })
      }
    return (findings.isEmpty ? [.ok(OllamaService.unit, "there is none beside the pool")] : findings)
      + busy(facts, busyMemory)
  }

  private static func finding(_ unit: Unit, _ takes: String) -> Finding {
    let name = OllamaService.unit
    if unit.isRunning {
      return .problem(
        name,
        "\(unit.who) runs\(takes.isEmpty ? ", and may take a port or GPU memory of the pool's at any time" : takes)",
        remedy: "`\(unit.command) disable --now \(name)`; its models stay, and the pool finds them")
    }
    if unit.isEnabled {
      return .warning(
        name, "\(unit.who) does not run, and starts beside the pool with the machine",
        remedy: "`\(unit.command) disable \(name)`")
    }
    return .ok(name, "\(unit.who) is installed and does not run")
  }

  private static func stray(_ server: SeenProcess, _ takes: String) -> Finding {
    return .warning(
      "ollama serve",
      "\(server) is none of the pool's\(takes.isEmpty ? ", and may take GPU memory at any time" : takes)",
      remedy: "end it if the pool is to have its GPUs: "
        + ControlGroupOwner.remedy(against: server.processID, of: server.owner))
  }

  /// What a server has: ", and holds 127.0.0.1:11434 and 4 GiB of GPU-a".
  private static func takes(
    _ facts: GPUFacts?, _ ports: [HeldPort], _ isIts: (SeenProcess) -> Bool
  ) -> String {
    let held = ports.filter { port in
      isIts(SeenProcess(processID: port.process ?? -1, command: "", owner: port.owner))
    }.map(\.address)
    let memory = (facts?.inventory.gpus ?? []).compactMap { gpu -> String? in
      let bytes = (gpu.processes ?? []).filter { facts?.processes[$0.pid].map(isIts) ?? false }
        .reduce(UInt64(0)) { $0.saturatingSum(with: $1.memory ?? 0) }
      return bytes == 0 ? nil : "\(Quantity.bytes(Int(clamping: bytes))) of \(gpu.uuid)"
    }
    let all = held + memory
    return all.isEmpty ? "" : ", and holds \(all.joined(separator: " and "))"
  }

  /// GPUs on which programs of others hold more than is tolerated.
  private static func busy(_ facts: GPUFacts?, _ limit: ByteCount) -> [Finding] {
    (facts?.inventory.gpus ?? []).filter { $0.kind != .divided }.compactMap { gpu in
      let holders = (gpu.processes ?? []).compactMap { process in
        facts?.processes[process.pid].flatMap { $0.isPools ? nil : (process: $0, bytes: process.memory ?? 0) }
      }
      let held = holders.reduce(UInt64(0)) { $0.saturatingSum(with: $1.bytes) }
      guard held > UInt64(clamping: limit.bytes) else { return nil }
      let names = holders.sorted { $0.bytes > $1.bytes }.prefix(4).map {
        "\($0.process) with \(Quantity.bytes(Int(clamping: $0.bytes)))"
      }
      return .warning(
        "gpus",
        "\(gpu.title): others hold \(Quantity.bytes(Int(clamping: held))), more than `busy_memory` "
          + "(\(Quantity.bytes(limit.bytes))), so nothing is started there: \(names.joined(separator: ", "))",
        remedy: "wait for them, or end them; `busy_memory` says how much is let pass")
    }
  }
}

extension UInt64 {
  /// A driver may tell any figure.
  fileprivate func saturatingSum(with other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
