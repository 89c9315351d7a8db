import GPUInventory
import Foundation
import Glibc
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Launching

extension SystemdLauncherTests {
  // MARK: What runs

  @Test func `an instance runs as its user, with its groups, its variables and its nodes, and with no privilege`()
    async throws
  {
    try await withLauncher { launcher, _ in
      let script = try await Script(
        """
        for node in nvidia0 nvidia1 zero; do
          if (: < /dev/$node) 2>/dev/null; then echo "may open $node"; else echo "may not open $node"; fi
        done
        touch /etc/x /usr/x 2>/dev/null && echo "can write"; touch "$HOME/x" && echo "has a home"
        \(Self.waits)
        """)
      var specification = InstanceSpecification.example(executable: script.path)
      specification.gpus[0].deviceNodes = ["/dev/nvidia0", "/dev/nvidiactl"]
      let unit = try await launcher.start(specification, port: 11503)
      #expect(unit.address == "127.0.0.1:11503")
      #expect(unit.specification == specification.digest)
      let name = "ollama-instance-gpu0.service"
      let properties = try await shown(
        name,
        "Slice,User,SupplementaryGroups,DevicePolicy,DeviceAllow,PartOf,Before,KillMode,NoNewPrivileges,ProtectSystem,"
          + "ProtectHome,CapabilityBoundingSet,MainPID,TimeoutStopUSec,UMask,LimitNOFILE,InvocationID")
      let expected: Set = [
        "Slice=ollamapool.slice", "User=ollama-pool-instance", "SupplementaryGroups=render video",
        "DevicePolicy=closed", "DeviceAllow=/dev/nvidia0 rw", "DeviceAllow=/dev/nvidiactl rw",
        "PartOf=", "KillMode=mixed", "NoNewPrivileges=yes", "ProtectSystem=strict",
        "ProtectHome=yes", "CapabilityBoundingSet=", "MainPID=\(unit.mainPID)", "TimeoutStopUSec=10s", "UMask=0027",
        "LimitNOFILE=65536", "InvocationID=\(unit.invocation)",
      ]
      #expect(expected.subtracting(properties) == [], "\(properties)")
      #expect(properties.filter { $0.hasPrefix("DeviceAllow") }.count == 2)
      #expect(!properties.contains { $0.hasPrefix("Before=") && $0.contains("ollama-pool-dispatcher.service") })

      let status = try String(contentsOfFile: "/proc/\(unit.mainPID)/status", encoding: .utf8)
      let user = try #require(User(named: "ollama-pool-instance")).userID
      #expect(status.contains("Uid:\t\(user)\t\(user)\t\(user)\t\(user)\n"))
      for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        #expect(status.contains(line), "\(line)")
      }
      let groups = status.split(separator: "\n").first { $0.hasPrefix("Groups:") }?.split { "\t ".contains($0) } ?? []
      #expect(groups.contains("44"), "video")
      let environment = try String(contentsOfFile: "/proc/\(unit.mainPID)/environ", encoding: .utf8).split(
        separator: "\0")
      for (name, value) in specification.environment(
        port: 11503, home: "/var/lib/ollama-pool-instance", hidingOtherGPUs: true)
      {
        #expect(environment.contains("\(name)=\(value)"))
      }
      try await eventually("its output is in the journal under its name") {
        try await journal("POOL_INSTANCE=gpu0", "SYSLOG_IDENTIFIER=ollama-gpu0", "POOL_GPU=GPU-aaa")
          .hasSuffix("may open nvidia0\nmay not open nvidia1\nmay open zero\nhas a home\n")
      }
    }
  }

  @Test func `where Ollama is installed its user and its home are used`() async throws {
    let home = "/usr/share/ollama"
    try await succeed("systemd-sysusers", ["--inline", "u ollama - \"Ollama\" \(home)"])
    try await succeed("install", ["-d", "-o", "ollama", home])
    let outcome: Result<Void, any Error>
    do {
      try await withLauncher { launcher, _ in
        let script = try await Script("touch $HOME/x && echo written; id -un; \(Self.waits)")
        _ = try await launcher.start(.example("home", gpus: [], executable: script.path), port: 11500)
        try await eventually("it has told") {
          try await journal("POOL_INSTANCE=home").contains("written\nollama\n")
        }
        #expect(access("\(home)/x", F_OK) == 0)
      }
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    try await succeed("userdel", ["ollama"])
    try outcome.get()
  }

  @Test(.enabled(if: access(BuiltProduct.path("ollama-simulator"), X_OK) == 0, "needs ollama-simulator: swift build"))
  func `the simulator serves from within the sandbox, and its runner goes with it`() async throws {
    try await withLauncher { launcher, witness in
      let folder = try TemporaryDirectory()
      defer { withExtendedLifetime(folder) {} }
      let simulator = try await BuiltProduct.copy("ollama-simulator", to: folder)
      let specification = InstanceSpecification.example("sim", gpus: [], executable: simulator) {
        $0.environment = ["OLLAMA_SIMULATOR_DISCOVERY_SECONDS": "0", "OLLAMA_SIMULATOR_LOAD_SECONDS": "0"]
      }
      for kill in [false, true] {
        let unit = try await launcher.start(specification, port: 11555)
        try await eventually("it answers") {
          try await HTTPProbe.exchange("GET", "/api/version", port: 11555).status == 200
        }
        let load = try await HTTPProbe.exchange(
          "POST", "/api/generate", port: 11555, body: #"{"model":"llama3.2","keep_alive":-1}"#)
        #expect(load.status == 200, "\(load.text)")
        let runners = ProcessTree.descendants(of: unit.mainPID)
        #expect(runners.count == 1)
        if kill {
          Glibc.kill(unit.mainPID, SIGKILL)
        } else {
          try await launcher.stop("sim", unit.invocation, kill: false)
        }
        #expect(try await witness.end(of: unit.invocation) == (kill ? "killed by SIGKILL" : "exit status 0"))
        #expect(!runners.contains(where: isAlive) && !isAlive(unit.mainPID))
      }
    }
  }

  // MARK: Ends

  @Test func `an end by itself is told once, when nothing is left, and the unit is forgotten`() async throws {
    try await withLauncher { launcher, witness in
      // One child in its process group, one in a session of its own, both deaf to SIGTERM.
      let script = try await Script(
        "trap '' TERM; setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & \(Self.waits)")
      for (id, number, words) in [
        ("end1", SIGKILL, "killed by SIGKILL"), ("end2", SIGSEGV, "SIGSEGV"),
      ] as [(InstanceID, Int32, String)] {
        let unit = try await launcher.start(.example(id, gpus: [], executable: script.path), port: 11500)
        let tree = try await eventualValue("its child runs") {
          let tree = ProcessTree.descendants(of: unit.mainPID)
          return tree.count >= 3 ? tree : nil
        }
        kill(unit.mainPID, number)
        #expect(try await witness.end(of: unit.invocation).contains(words))
        #expect(!tree.contains(where: isAlive))
        try await eventually("its unit is forgotten") { try await unitsInMemory().isEmpty }
        #expect(await witness.ends(of: unit.invocation).count == 1)
      }
      let script2 = try await Script("sleep 0.2; exit 3")
      let unit = try await launcher.start(.example("end3", gpus: [], executable: script2.path), port: 11500)
      #expect(
        try await witness.end(of: unit.invocation) == "exit status 3; journalctl POOL_INSTANCE=end3 has its own words")
      let words = "Error: listen tcp 127.0.0.1:11500: bind: address already in use"
      let script3 = try await Script("echo starting; echo '\(words)' >&2; exit 1")
      // It may get as far as running before it ends.
      do {
        let taken = try await launcher.start(.example("end4", gpus: [], executable: script3.path), port: 11500)
        #expect(try await witness.end(of: taken.invocation) == "exit status 1: \(words)")
      } catch let error as LaunchError {
        #expect(error.message == "end4 did not start: exit status 1: \(words)")
      }
    }
  }

  @Test func `a stop waits for the end, a kill waits for nothing, and a stale one does nothing`() async throws {
    try await withLauncher { launcher, witness in
      let polite = try await Script("trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.05; done")
      let first = try await launcher.start(.example("stop", gpus: [], executable: polite.path), port: 11500)
      try await launcher.stop("stop", "0123456789abcdef0123456789abcdef", kill: true)
      #expect(isAlive(first.mainPID))
      try await trapIsSet(first.mainPID)
      try await launcher.stop("stop", first.invocation, kill: false)
      #expect(!isAlive(first.mainPID))
      #expect(try await witness.end(of: first.invocation) == "exit status 0")
      try await launcher.stop("stop", first.invocation, kill: false)

      let deaf = try await Script(
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & \(Self.waits)")
      let second = try await launcher.start(.example("stop", gpus: [], executable: deaf.path), port: 11500)
      #expect(second.invocation != first.invocation)
      let tree = try await eventualValue("its child runs") {
        let tree = ProcessTree.descendants(of: second.mainPID)
        return tree.count >= 3 ? tree : nil
      }
      try await launcher.stop("stop", first.invocation, kill: true)
      #expect(isAlive(second.mainPID))
      let began = ContinuousClock.now
      try await launcher.stop("stop", second.invocation, kill: true)
      #expect(ContinuousClock.now - began < .seconds(5))
      #expect(!(tree + [second.mainPID]).contains(where: isAlive))
      #expect(try await witness.end(of: second.invocation) == "killed by SIGKILL")
      #expect(await witness.events.count == 2)
    }
  }

  // MARK: What does not start

  @Test func `what can't run is refused with its reason, and leaves nothing`() async throws {
    try await withLauncher { launcher, witness in
      let script = try await Script(Self.waits)
      func failure(_ specification: InstanceSpecification) async throws -> LaunchError {
        try await launchError { try await launcher.start(specification, port: 11500) }
      }
      let missing = try await failure(.example("bad", gpus: [], executable: "/nonexistent/ollama"))
      #expect(missing.code == .ended)
      #expect(missing.message.contains("203") && missing.message.contains("/nonexistent/ollama"), "\(missing)")

      let user = try await failure(.example("bad", gpus: [], executable: script.path) { $0.instanceUser = "no-such" })
      #expect(user.code == .unusableUser && user.message.contains("no-such"))
      // Whoever is called what: the dispatcher's user may change the pool.
      try await succeed("systemd-sysusers", ["--inline", "u ollama-pool - \"dispatcher\""])
      let dispatcher = try #require(User(named: "ollama-pool")).userID
      try await succeed("useradd", ["--non-unique", "--uid", "\(dispatcher)", "twin"])
      for name in ["ollama-pool", "twin"] {
        let user = try await failure(.example("bad", gpus: [], executable: script.path) { $0.instanceUser = name })
        #expect(user.code == .unusableUser && user.message.contains("may change the pool"), "\(user)")
      }

      var specification = InstanceSpecification.example("bad", executable: script.path)
      specification.gpus[0].deviceNodes = ["/dev/nvidia0", "/dev/nvidia77"]
      let node = try await failure(specification)
      #expect(node.code == .missingDevice && node.message.contains("/dev/nvidia77"))

      let store = try await failure(.example("bad", gpus: [], executable: script.path) { $0.modelsPath = "/srv/none" })
      #expect(store.code == .ended)
      #expect(store.message.contains("226") && store.message.contains("/srv/none"), "\(store)")

      let early = try await Script("exit 4")
      // It may get as far as running before it ends.
      do {
        let unit = try await launcher.start(.example("bad", gpus: [], executable: early.path), port: 11500)
        #expect(try await witness.end(of: unit.invocation).contains("exit status 4"))
      } catch let error as LaunchError {
        #expect(error.message.contains("exit status 4"), "\(error)")
      }
      try await eventually("nothing is left") { try await unitsInMemory().isEmpty }
    }
  }

  // MARK: Choice

  @Test func `automatic means the system manager for root, and after the close nothing starts`() async throws {
    let resolved = try await LauncherChoice.auto.resolve(.refused, owner: owner)
    #expect(resolved.launcher.description.hasPrefix("transient units of the system manager (systemd "))
    #expect(resolved.reason == "the pool runs as root, and systemd answers")
    await resolved.launcher.close()
    let error = try await launchError { try await resolved.launcher.start(.example(gpus: []), port: 11500) }
    #expect(error.code == .unavailable)
    #expect(try await LauncherChoice.child.resolve(.refused, owner: owner).launcher.description == "child processes")
  }

  @Test
  func `where root has no user for units, serve says so and has child processes, and an installed pool has units`()
    async throws
  {
    try await succeed("userdel", ["ollama-pool-instance"])
    let outcome: Result<Void, any Error>
    do {
      let standIn = try await LauncherChoice.auto.resolve(.allowed, owner: owner)
      #expect(standIn.launcher is ChildLauncher)
      #expect(standIn.reason.contains("as root") && standIn.reason.contains("user ollama-pool-instance"))
      for (standIns, user) in [(StandIns.refused, nil), (.allowed, "daemon")] {
        let resolved = try await LauncherChoice.auto.resolve(standIns, instanceUser: user, owner: owner)
        #expect(resolved.launcher is SystemdLauncher)
        await resolved.launcher.close()
      }
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    _ = try await SystemdLauncherTests()
    try outcome.get()
  }

  @Test func `where the bus is away, an installed pool waits for it, and only serve has child processes instead`()
    async throws
  {
    try await succeed("systemctl", ["stop", "dbus.service", "dbus.socket"])
    let outcome: Result<Void, any Error>
    do {
      let error = try await launchError {
        try await LauncherChoice.auto.resolve(.refused, owner: owner, patience: .milliseconds(300))
      }
      #expect(error.code == .unavailable)
      #expect(error.message.contains("systemctl status dbus"), "\(error)")
      let standIn = try await LauncherChoice.auto.resolve(.allowed, owner: owner)
      #expect(standIn.launcher is ChildLauncher)

      async let waiting = LauncherChoice.auto.resolve(.refused, owner: owner, patience: .seconds(60))
      try await succeed("systemctl", ["start", "dbus.socket", "dbus.service"])
      let resolved = try await waiting
      #expect(resolved.launcher is SystemdLauncher)
      await resolved.launcher.close()
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    try await succeed("systemctl", ["start", "dbus.socket", "dbus.service"])
    try outcome.get()
  }

  @Test func `the user manager runs instances too, without privilege`() async throws {
    try await succeed("systemctl", ["start", "user@0.service"])
    setenv("XDG_RUNTIME_DIR", "/run/user/0", 1)
    defer { unsetenv("XDG_RUNTIME_DIR") }
    let resolved = try await LauncherChoice.user.resolve(.refused, owner: owner)
    let launcher = resolved.launcher
    let witness = await Witness(launcher)
    let script = try await Script(Self.waits)
    let unit = try await launcher.start(.example("mine", gpus: [], executable: script.path), port: 11500)
    let group = try String(contentsOfFile: "/proc/\(unit.mainPID)/cgroup", encoding: .utf8)
    #expect(group.contains("/user@0.service/ollamapool.slice/ollama-instance-mine.service"), "\(group)")
    #expect(try await launcher.existing().map(\.unit) == [unit])
    // It has no right to close its units' network, and doesn't say that it had.
    #expect(unit.hasNetwork == nil && launcher.startsAsOwnUser)
    try await launcher.setNetwork("mine", unit.invocation, open: false)
    #expect(try await shown("ollama-instance-mine.service", "IPAddressDeny", of: "--user") == ["IPAddressDeny="])
    #expect(launcher.instance(ofProcess: unit.mainPID) == .instance("mine"))
    let systems = try await SystemdLauncher.connect(to: .system, owner: owner)
    #expect(systems.instance(ofProcess: unit.mainPID) == .other(command: "sh"))
    await systems.close()
    let error = try await launchError {
      try await launcher.start(
        .example("other", gpus: [], executable: script.path) { $0.instanceUser = "daemon" }, port: 11500)
    }
    #expect(error.code == .unusableUser)
    try await launcher.stop("mine", unit.invocation, kill: true)
    #expect(try await witness.end(of: unit.invocation) == "killed by SIGKILL")
    await launcher.close()
  }
}
