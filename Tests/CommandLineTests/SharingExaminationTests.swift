import GPUInventory
import Glibc
import Launching
import PoolConfiguration
import Systemd
import Testing

@testable import Dispatcher
@testable import ollama_pool

/// Who else is on the GPUs and at the ports.
@Suite struct SharingExaminationTests {
  private typealias Unit = SharingExamination.Unit

  private static let service = SeenProcess(processID: 812, command: "ollama", owner: .service("ollama.service"))
  private static let stray = SeenProcess(processID: 900, command: "ollama")
  private static let own = SeenProcess(
    processID: 950, command: "ollama", owner: .service("ollama-instance-gpu0.service"), isPools: true)

  /// One GPU with these processes on it.
  private func facts(_ processes: [(SeenProcess, bytes: UInt64)]) -> GPUFacts {
    var gpu = GPU(index: 0, uuid: "GPU-a", vendor: .nvidia)
    gpu.processes = processes.map { GPUProcess(pid: $0.0.processID, memory: $0.bytes) }
    var facts = GPUFacts(drivers: KernelDrivers(), inventory: Inventory(source: .drivers, gpus: [gpu]))
    for (process, _) in processes { facts.processes[process.processID] = process }
    return facts
  }

  private func findings(
    _ units: [Unit], _ servers: [SeenProcess], _ facts: GPUFacts? = nil, ports: [SharingExamination.HeldPort] = []
  ) -> [Finding] {
    SharingExamination.findings(
      units: units, servers: servers, facts, ports: ports, busyMemory: .mebibytes(1024))
  }

  @Test func `nothing beside the pool is well`() {
    #expect(findings([], [Self.own]) == [.ok("ollama.service", "there is none beside the pool")])
  }

  @Test func `Ollama's own service is told with what it holds`() {
    let held = SharingExamination.HeldPort(address: "127.0.0.1:11434", process: 812, owner: .service("ollama.service"))
    let running = Unit(isRunning: true, isEnabled: true)
    // Its runners are its, too.
    let runner = SeenProcess(processID: 813, command: "llama-server", owner: .service("ollama.service"))
    let finding = findings([running], [Self.service], facts([(runner, 512 << 20)]), ports: [held])
    #expect(
      finding == [
        .problem(
          "ollama.service", "Ollama's own service runs, and holds 127.0.0.1:11434 and 512 MiB of GPU-a",
          remedy: "`systemctl disable --now ollama.service`; its models stay, and the pool finds them")
      ])
    // What was not seen is not said.
    #expect(
      findings([running], []).first?.text
        == "Ollama's own service runs, and may take a port or GPU memory of the pool's at any time")
    let users = findings([Unit(isUsers: true, isRunning: true, isEnabled: false)], []).first
    #expect(users?.remedy?.hasPrefix("`systemctl --user disable --now ollama.service`") == true)
  }

  @Test func `a service that starts at the next boot is told, one that is off is not amiss`() {
    let enabled = findings([Unit(isRunning: false, isEnabled: true)], []).first
    #expect(enabled?.status == .warning && enabled?.remedy == "`systemctl disable ollama.service`")
    let off = findings([Unit(isRunning: false, isEnabled: false)], []).first
    #expect(off == .ok("ollama.service", "Ollama's own service is installed and does not run"))
  }

  @Test func `a server that somebody started is told once`() {
    let docker = SeenProcess(
      processID: 901, command: "ollama", owner: .container(.docker, id: String(repeating: "0a", count: 32)))
    let found = findings([Unit(isRunning: true, isEnabled: true)], [Self.service, Self.stray, docker, Self.own])
    #expect(found.map(\.check) == ["ollama.service", "ollama serve", "ollama serve"])
    #expect(found[1].status == .warning && found[1].text.hasPrefix("ollama (process 900) is none of the pool's"))
    #expect(found[1].remedy?.hasSuffix("`kill 900`") == true)
    #expect(found[2].remedy?.hasSuffix("`docker stop 0a0a0a0a0a0a`") == true)
  }

  @Test func `the service of another manager is another one`() {
    let users = SeenProcess(processID: 813, command: "ollama", owner: .service("ollama.service", user: geteuid()))
    let found = findings([Unit(isRunning: true, isEnabled: true)], [Self.service, users])
    #expect(found.map(\.check) == ["ollama.service", "ollama serve"])
    #expect(found[1].remedy?.hasSuffix("`systemctl --user stop ollama.service`") == true)
    let both = findings(
      [Unit(isRunning: true, isEnabled: true), Unit(isUsers: true, isRunning: true, isEnabled: true)],
      [Self.service, users], facts([(users, 1 << 29)]))
    #expect(both.map(\.check) == ["ollama.service", "ollama.service"])
    #expect(!both[0].text.contains("GPU-a") && both[1].text.contains("holds 512 MiB of GPU-a"))
  }

  @Test func `figures of a driver that are nonsense are no end of it`() {
    let trainer = SeenProcess(processID: 7, command: "python3")
    let service = SeenProcess(processID: 8, command: "ollama", owner: .service("ollama.service"))
    let all = facts([(trainer, .max), (Self.stray, .max), (service, .max), (Self.service, .max)])
    let found = findings([Unit(isRunning: true, isEnabled: true)], [Self.service, Self.stray], all)
    #expect(found.map(\.check) == ["ollama.service", "ollama serve", "gpus"])
  }

  @Test func `a GPU on which others hold more than is let pass is told with their names`() {
    let trainer = SeenProcess(processID: 7, command: "python3")
    let some = findings([], [], facts([(trainer, 1 << 30), (Self.own, 60 << 30)]))
    #expect(some.map(\.status) == [.ok])
    let busy = findings([], [], facts([(trainer, 6 << 30), (Self.own, 60 << 30)])).last
    #expect(busy?.status == .warning)
    #expect(
      busy?.text == "nvidia GPU-a: others hold 6 GiB, more than `busy_memory` (1 GiB), so nothing is started there: "
        + "python3 (process 7) with 6 GiB")
  }

  // MARK: Ports

  private static let address = ListenAddress.loopback(port: 11_434)

  @Test func `ports that are held by others are told with what frees them`() {
    let holder = SharingExaminationTests.holder(812, "ollama.service")
    let ports: [PortExamination.Port] = [
      .init(address: Self.address, state: .own), .init(address: .loopback(port: 11_435), state: .free),
      .init(address: Self.address, state: .taken(holder)), .init(address: Self.address, state: .taken(Self.holder(1))),
      .init(address: Self.address, state: .taken(nil)), .init(address: Self.address, state: .failed(13)),
    ]
    let findings = PortExamination.findings(ports)
    #expect(findings.map(\.status) == [.ok, .ok, .problem, .ok, .problem, .problem])
    #expect(findings[2].text == "127.0.0.1:11434 is held by ollama (process 812, ollama.service)")
    #expect(findings[2].remedy?.contains("`systemctl disable --now ollama.service`") == true)
    #expect(PortExamination.held(ports).map(\.process) == [812, 1])
  }

  @Test func `an instance's port that is held is told only if one knows by whom`() {
    let ports: [PortExamination.Port] = [
      .init(address: .loopback(port: 11_500), instance: "gpu0", state: .taken(Self.holder(77))),
      .init(address: .loopback(port: 11_501), instance: "gpu1", state: .taken(nil)),
      .init(address: .loopback(port: 11_502), instance: "gpu2", state: .free),
    ]
    let findings = PortExamination.findings(ports)
    #expect(findings.map(\.status) == [.warning])
    #expect(findings[0].text == "127.0.0.1:11500, which gpu0 tries first, is held by ollama (process 77)")
    #expect(findings[0].remedy?.contains("`instance_ports`") == true)
  }

  private static func holder(_ processID: Int32, _ unit: String? = nil) -> PortHolder {
    PortHolder(userID: 0, processID: processID, name: "ollama", owner: unit.map { .service($0) })
  }
}
