import Foundation
import Glibc
import PoolCore
import TestSupport
import Testing

@testable import Launching

extension SystemdLauncherTests {
  // MARK: Other lives

  @Test func `a second launcher finds what the first one started, and hears of its end`() async throws {
    let script = try await Script(Self.waits)
    var first: [InstanceID: RunningInstance.Unit] = [:]
    let launcher = try await SystemdLauncher.connect(to: .system, owner: owner)
    for id in ["a", "b", "c"] as [InstanceID] {
      first[id] = try await launcher.start(.example(id, gpus: [], executable: script.path), port: 11501)
    }
    await launcher.close()
    kill(try #require(first["c"]).mainPID, SIGKILL)
    try await eventually("c is gone") { try await !unitsInMemory().contains("instance-c.") }
    // What merely has such a name is none of the pool's.
    try await succeed("systemd-run", ["--unit=ollama-instance-foreign.service", "/bin/sleep", "1000"])
    try await withLauncher { launcher, witness in
      let found = try await launcher.existing().sorted { $0.id < $1.id }
      #expect(found.map(\.id) == ["a", "b"])
      #expect(found.allSatisfy { $0.unit == first[$0.id] })
      let again = try await launcher.existing()
      #expect(again.count == 2)
      #expect(try await launcher.start(.example("a", gpus: [], executable: script.path), port: 11599) == first["a"])
      let foreign = try await launchError {
        try await launcher.start(.example("foreign", gpus: [], executable: script.path), port: 11500)
      }
      #expect(foreign.code == .refused && foreign.message.contains("not the pool's"))

      let unit = try #require(first["b"])
      kill(unit.mainPID, SIGKILL)
      #expect(try await witness.end(of: unit.invocation) == "killed by SIGKILL")
      try await launcher.stop("a", try #require(first["a"]).invocation, kill: false)
      #expect(try await witness.end(of: try #require(first["a"]).invocation) != "")
      #expect(await witness.events.count == 2)
    }
  }

  @Test func `another pool's units are left alone, and their names are not to be had`() async throws {
    let script = try await Script(Self.waits)
    let other = try await SystemdLauncher.connect(to: .system, owner: otherOwner)
    let unit = try await other.start(.example("gpu0", gpus: [], executable: script.path), port: 11500)
    try await withLauncher { launcher, witness in
      #expect(try await launcher.existing() == [])
      let error = try await launchError {
        try await launcher.start(.example("gpu0", gpus: [], executable: script.path), port: 11501)
      }
      #expect(error.code == .refused)
      #expect(error.message.contains("for another pool, whose sockets are in /run/other"), "\(error)")
      #expect(isAlive(unit.mainPID))
      let own = try await launcher.start(.example("gpu1", gpus: [], executable: script.path), port: 11501)
      #expect(try await other.existing().map(\.id) == ["gpu0"])
      // Whatever systemd tells of the others' unit is none of this pool's.
      try await succeed("systemctl", ["restart", "ollama-instance-gpu0.service"])
      try await succeed("systemctl", ["daemon-reload"])
      kill(own.mainPID, SIGKILL)
      _ = try await witness.end(of: own.invocation)
      #expect(await witness.events.count == 1)
    }
    await other.close()
  }

  @Test func `a start that is given up takes back its own unit, and none of another pool's`() async throws {
    let script = try await Script(Self.waits)
    let other = try await SystemdLauncher.connect(to: .system, owner: otherOwner)
    let unit = try await other.start(.example("gpu0", gpus: [], executable: script.path), port: 11500)
    try await withLauncher { launcher, _ in
      for id in ["gpu0", "gpu1"] as [InstanceID] {
        let start = Task { try await launcher.start(.example(id, gpus: [], executable: script.path), port: 11501) }
        start.cancel()
        let error = try await launchError { try await start.value }
        #expect(error.code == .unavailable, "\(error)")
      }
      try await eventually("its own ends") {
        try await shown("ollama-instance-gpu1.service", "ActiveState") == ["ActiveState=inactive"]
      }
      let state = try await shown("ollama-instance-gpu0.service", "ActiveState,MainPID")
      #expect(state == ["ActiveState=active", "MainPID=\(unit.mainPID)"])
    }
    await other.close()
  }

  @Test func `a failed unit that lingers makes way, and one that is stopping is waited for`() async throws {
    try await withLauncher { launcher, _ in
      let script = try await Script(Self.waits)
      let name = "ollama-instance-linger.service"
      _ = try await run("systemd-run", ["--unit=\(name)", "/bin/false"])
      try await eventually("it has failed") { try await unitsInMemory().contains("failed") }
      let unit = try await launcher.start(.example("linger", gpus: [], executable: script.path), port: 11500)
      #expect(isAlive(unit.mainPID))

      // Else SIGTERM may reach the sleep of the trap as well.
      try await succeed(
        "systemd-run",
        [
          "--unit=ollama-instance-slow.service", "--property=KillMode=mixed", "sh", "-c",
          "trap 'sleep 2; exit' TERM; while :; do sleep 0.1; done",
        ])
      let shown = try await shown("ollama-instance-slow.service", "MainPID")
      let old = try #require(shown.first.flatMap { Int32($0.dropFirst("MainPID=".count)) })
      try await trapIsSet(old)
      try await succeed("systemctl", ["stop", "--no-block", "ollama-instance-slow.service"])
      try await eventually("it is on its way out") {
        try await self.shown("ollama-instance-slow.service", "ActiveState") == ["ActiveState=deactivating"]
      }
      let next = try await launcher.start(.example("slow", gpus: [], executable: script.path), port: 11500)
      #expect(old != next.mainPID && !isAlive(old))
      #expect(isAlive(next.mainPID))
    }
  }

  @Test func `a unit that is on its way out is found as that, and its end is told`() async throws {
    let script = try await Script("trap 'sleep 2; exit' TERM; while :; do sleep 0.1; done")
    let first = try await SystemdLauncher.connect(to: .system, owner: owner)
    let unit = try await first.start(.example("slow", gpus: [], executable: script.path), port: 11500)
    try await trapIsSet(unit.mainPID)
    await first.close()
    try await succeed("systemctl", ["stop", "--no-block", "ollama-instance-slow.service"])
    try await withLauncher { launcher, witness in
      try await eventually("it is on its way out") { try await launcher.existing().map(\.isEnding) == [true] }
      #expect(try await launcher.existing().map(\.unit) == [unit])
      #expect(try await witness.end(of: unit.invocation) != "")
      #expect(try await launcher.existing() == [])
      #expect(await witness.events.count == 1)
    }
  }

  @Test func `a unit that somebody restarts has ended, and another appears`() async throws {
    try await withLauncher { launcher, witness in
      let script = try await Script(Self.waits)
      let old = try await launcher.start(.example("again", gpus: [], executable: script.path), port: 11500)
      try await succeed("systemctl", ["restart", "ollama-instance-again.service"])
      _ = try await witness.end(of: old.invocation)
      let new = try await eventualValue("the new one appears") {
        await witness.events.compactMap { if case .appeared("again", let unit) = $0 { unit } else { nil } }.first
      }
      #expect(new.invocation != old.invocation && isAlive(new.mainPID))
      #expect(new.specification == old.specification && new.address == old.address)
      kill(new.mainPID, SIGKILL)
      #expect(try await witness.end(of: new.invocation) == "killed by SIGKILL")
      #expect(await witness.events.count == 3)
    }
  }

  @Test func `after a restart of dbus and of systemd ends are told, also those of meanwhile`() async throws {
    for (command, isLoss) in [
      (["restart", "dbus.service"], true), (["daemon-reexec"], true), (["daemon-reload"], false),
    ] {
      try await withLauncher { launcher, witness in
        let script = try await Script(Self.waits)
        let kept = try await launcher.start(.example("kept", gpus: [], executable: script.path), port: 11500)
        let lost = try await launcher.start(.example("lost", gpus: [], executable: script.path), port: 11501)
        try await succeed("systemctl", command)
        kill(lost.mainPID, SIGKILL)
        _ = try await witness.end(of: lost.invocation)
        if isLoss {
          try await eventually("the launcher is back") { await witness.events.contains(.reconnected) }
        }
        #expect(isAlive(kept.mainPID))
        #expect(try await launcher.existing().map(\.unit) == [kept])
        // With a reference again, so that the result is there to be read.
        kill(kept.mainPID, SIGKILL)
        #expect(try await witness.end(of: kept.invocation) == "killed by SIGKILL", "\(command)")
        for unit in [kept, lost] { #expect(await witness.ends(of: unit.invocation).count == 1) }
        #expect(await witness.events.contains(.reconnected) == isLoss, "\(command)")
        try await eventually("their units are forgotten") { try await unitsInMemory().isEmpty }
      }
    }
  }

  @Test func `orders that come while the bus is away are carried out when it is back`() async throws {
    try await withLauncher { launcher, witness in
      let script = try await Script(Self.waits)
      let unit = try await launcher.start(.example("stop", gpus: [], executable: script.path), port: 11500)
      try await succeed("systemctl", ["stop", "dbus.service", "dbus.socket"])
      async let started = launcher.start(.example("start", gpus: [], executable: script.path), port: 11501)
      async let stopped: Void = launcher.stop("stop", unit.invocation, kill: false)
      try await succeed("systemctl", ["start", "dbus.socket", "dbus.service"])
      #expect(isAlive(try await started.mainPID))
      try await stopped
      #expect(!isAlive(unit.mainPID))
      #expect(try await witness.end(of: unit.invocation) != "")
    }
  }
}
