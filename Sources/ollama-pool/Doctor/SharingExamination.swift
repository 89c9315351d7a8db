import GPUInventory
import Launching
import PoolConfiguration

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
  }

  /// A port of the pool's that another program holds.
  struct HeldPort: Equatable, Sendable {
    var address: String
    var process: Int32?
    var unit: String?
  }

  /// - Parameters:
  ///   - units: those that there are.
  ///   - servers: every `ollama serve`.
  static func findings(
    units: [Unit], servers: [SeenProcess], _ facts: GPUFacts?, ports: [HeldPort] = [], busyMemory: ByteCount
  ) -> [Finding] {
    let others = servers.filter { !$0.isPools }
    let services = units.map { unit in
      let processes = others.filter { $0.unit == OllamaService.unit }.map(\.processID)
      return finding(unit, takes(facts, ports) { $0.unit == OllamaService.unit || processes.contains($0.processID) })
    }
    let strays = others.filter { server in
      server.unit != OllamaService.unit || !units.contains { $0.isRunning }
    }
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
        name, "\(unit.who) runs\(takes.isEmpty ? ", and takes the port and the GPUs that the pool needs" : takes)",
        remedy: "`\(unit.command) disable --now \(name)`; its models stay, and the pool finds them")
    }
    if unit.isEnabled {
      return .warning(
        name, "\(unit.who) does not run, and takes the port and the GPUs at the next start of the machine",
        remedy: "`\(unit.command) disable \(name)`")
    }
    return .ok(name, "\(unit.who) is installed and does not run")
  }

  private static func stray(_ server: SeenProcess, _ takes: String) -> Finding {
    let remedy = server.unit.map { "`systemctl stop \($0)`" } ?? "`kill \(server.processID)`"
    return .warning(
      "ollama serve",
      "\(server) is none of the pool's\(takes.isEmpty ? ", and may take GPU memory at any time" : takes)",
      remedy: "end it if the pool is to have its GPUs: \(remedy)")
  }

  /// What a server has: ", and holds 127.0.0.1:11434 and 4 GiB of GPU-a".
  private static func takes(
    _ facts: GPUFacts?, _ ports: [HeldPort], _ isIts: (SeenProcess) -> Bool
  ) -> String {
    let held = ports.filter { port in
      isIts(SeenProcess(processID: port.process ?? -1, command: "", unit: port.unit))
    }.map(\.address)
    let memory = (facts?.inventory.gpus ?? []).compactMap { gpu -> String? in
      let bytes = (gpu.processes ?? []).filter { facts?.processes[$0.pid].map(isIts) ?? false }
        .reduce(0) { $0 + ($1.memory ?? 0) }
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
      let held = holders.reduce(0) { $0 + $1.bytes }
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
