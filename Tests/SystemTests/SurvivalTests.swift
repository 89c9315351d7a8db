import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Two instances that are always there.
  static let two = "scaling: {min: 2, cold_start: 1s, window: 2s, shrink: 100%, idle_hold: 1s}"

  /// The daemons die in turn, and what they stand on, with streams running.
  @Suite(.serialized) struct SurvivalTests {
    @Test func aKilledSupervisorCostsNothingAndTheNewOneAdoptsTheUnits() async throws {
      try await InstalledPool.running(SystemTests.two) { pool in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 100)
        try await pool.kill("SIGKILL", InstalledPool.supervisor)
        try await pool.status("the supervisor is back with the same instances") { status in
          status.running.map(\.mainPID) == before.running.map(\.mainPID) && status.maxConcurrent == 2
        }
        let answer = try await Conversation.finish(stream)
        #expect(answer.isDone && answer.tokens >= 99)
        #expect(try await pool.instanceUnits().count == 2)
      }
    }

    @Test func aKilledDispatcherBreaksItsStreamsAloneAndServesWithinASecondOfItsReturn() async throws {
      try await InstalledPool.running(SystemTests.two) { pool in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 2_000)
        let old = try await pool.mainPID(of: InstalledPool.dispatcher)
        try await pool.kill("SIGKILL", InstalledPool.dispatcher)
        // This connection waits in the socket that systemd holds.
        let answer = try await Conversation.chat(tokens: 2)
        #expect(answer.status == 200 && answer.isDone)
        #expect(try await pool.mainPID(of: InstalledPool.dispatcher) != old)
        let ready = try await pool.becameActive(InstalledPool.dispatcher)
        let firstByte = MonotonicTime.of(answer.firstByteAt)
        #expect((.zero..<(.seconds(1))).contains(firstByte - ready), "\(firstByte - ready) after its READY")
        let cut = try? await Conversation.finish(stream, within: .seconds(5))
        #expect(cut?.isDone != true)
        let after = try await pool.ready(2)
        #expect(after.running.map(\.mainPID) == before.running.map(\.mainPID))
      }
    }

    @Test func aDispatcherThatIsKilledOverAndOverNeverLosesItsSockets() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        for round in 0..<6 {
          let old = try await pool.mainPID(of: InstalledPool.dispatcher)
          try await pool.kill("SIGKILL", InstalledPool.dispatcher)
          try await eventually("dispatcher \(round + 1) runs") {
            let new = try await pool.mainPID(of: InstalledPool.dispatcher)
            return new != 0 && new != old
          }
        }
        let answer = try await Conversation.chat(tokens: 2)
        #expect(answer.isDone)
        #expect(try await pool.property("ActiveState", of: "ollama-pool-dispatcher.socket") == "active")
      }
    }

    @Test func aDispatcherThatCrashesWheneverItStartsNeverTakesItsSocketsWithIt() async throws {
      try await InstalledPool.running("scaling: {max: 1}") { pool in
        let before = try await pool.ready(1)
        let folder = "/run/systemd/system/\(InstalledPool.dispatcher).d"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try "[Service]\nExecStart=\nExecStart=/bin/sh -c 'kill -SEGV $$$$'\n"
          .write(toFile: folder + "/crash.conf", atomically: false, encoding: .utf8)
        try await systemctl("daemon-reload")
        try await pool.kill("SIGKILL", InstalledPool.dispatcher)
        // Both sockets have somebody who waits in them: this client, and the supervisor.
        let waiting = Task { try await Conversation.chat(tokens: 2) }
        // Well beyond the five starts in ten seconds that a unit has by default.
        try await eventually(within: .seconds(30), every: .milliseconds(100), "it has crashed twelve times") {
          Int(try await pool.property("NRestarts", of: InstalledPool.dispatcher)) ?? 0 >= 12
        }
        for socket in ["ollama-pool-dispatcher.socket", "ollama-pool-dispatcher-control.socket"] {
          #expect(try await pool.property("ActiveState", of: socket) == "active")
          #expect(try await pool.property("Result", of: socket) == "success")
        }
        try FileManager.default.removeItem(atPath: folder)
        try await systemctl("daemon-reload")
        #expect(try await waiting.value.isDone)
        let after = try await pool.ready(1)
        #expect(after.running.map(\.mainPID) == before.running.map(\.mainPID))
      }
    }

    @Test func restartsOfDbusAndSystemdItselfDoNotReachTheUsers() async throws {
      try await InstalledPool.running(SystemTests.two) { pool in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 200)
        try await systemctl("restart", "dbus.service")
        try await systemctl("daemon-reexec")
        #expect(try await Conversation.finish(stream).isDone)
        // The supervisor still hears of what happens: a killed instance is replaced.
        try await pool.kill("SIGKILL", "ollama-instance-gpu1.service")
        try await pool.status("gpu1 was replaced") { status in
          status.maxConcurrent == 2 && status.instance("gpu0")?.mainPID == before.instance("gpu0")?.mainPID
            && status.instance("gpu1")?.mainPID != before.instance("gpu1")?.mainPID
        }
      }
    }

    @Test func aSupervisorThatStartsWhileDbusRestartsAdoptsTheUnits() async throws {
      try await InstalledPool.running(SystemTests.two) { pool in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 100)
        _ = try await supervisorAfterKill(in: pool)
        try await systemctl("restart", "dbus.service")
        try await expectAdoption(of: before, in: pool)
        #expect(try await Conversation.finish(stream).isDone)
      }
    }

    @Test func aSupervisorThatStartsWithoutABusWaitsForItAndAdoptsTheUnits() async throws {
      try await InstalledPool.running(SystemTests.two) { pool in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 100)
        try await masking("dbus.socket", "dbus.service") {
          try await systemctl("stop", "dbus.socket", "dbus.service")
          // Where the bus was there is one who takes nobody in, and tells who has come.
          let path = "/run/dbus/system_bus_socket"
          let nobody = try RunningProgram("python3", ["-uc", Self.bouncer, path])
          try await nobody.line(containing: "listening")
          let new = try await supervisorAfterKill(in: pool)
          try await eventually("the new one has come a third time") {
            nobody.outputLines.count { $0 == "process \(new)" } >= 3
          }
          #expect(try await pool.property("ActiveState", of: InstalledPool.supervisor) == "activating")
          nobody.killTree()
          try FileManager.default.removeItem(atPath: path)
        }
        try await systemctl("start", "dbus.socket", "dbus.service")
        try await expectAdoption(of: before, in: pool)
        #expect(try await Conversation.finish(stream).isDone)
      }
    }

    private static let bouncer = """
      import os, socket, struct, sys
      door = socket.socket(socket.AF_UNIX)
      os.unlink(sys.argv[1])
      door.bind(sys.argv[1])
      os.chmod(sys.argv[1], 0o666)
      door.listen()
      print("listening")
      while True:
        guest, _ = door.accept()
        peer = guest.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        print("process", struct.unpack("iii", peer)[0])
        guest.close()
      """

    /// Kills the supervisor.
    /// - Returns: the process of the new one, which has only just been started.
    private func supervisorAfterKill(in pool: InstalledPool) async throws -> Int32 {
      let old = try await pool.mainPID(of: InstalledPool.supervisor)
      kill(old, SIGKILL)
      return try await eventualValue("systemd has started another supervisor") {
        let new = try await pool.mainPID(of: InstalledPool.supervisor)
        return new != 0 && new != old ? new : nil
      }
    }

    /// By a new supervisor, as systemd's units.
    private func expectAdoption(of before: InstalledPool.Status, in pool: InstalledPool) async throws {
      try await pool.status("both were adopted") { status in
        status.running.map(\.mainPID) == before.running.map(\.mainPID) && status.maxConcurrent == 2
      }
      try await eventually("the journal tells of the adoptions") {
        let adopted = try await pool.story().filter { $0.message.contains(" is adopted: ") }
        return Set(adopted.compactMap(\.instance)) == ["gpu0", "gpu1"]
      }
      let begins = try await pool.story().filter { $0.message.contains(" begins: ") }
      #expect(begins.count >= 2 && begins.allSatisfy { $0.message.contains("begins: transient units of the system") })
      #expect(try await pool.instanceUnits().count == 2)
      // It has no children.
      #expect(try await pool.processes(ofUnit: InstalledPool.supervisor).count == 1)
    }

    @Test func theSupervisorMayDieBetweenARetirementAndTheStop() async throws {
      try await InstalledPool.running(
        "scaling: {min: 1, max: 2, cold_start: 1s, window: 1s, shrink: 100%, idle_hold: 500ms}"
      ) {
        pool in
        let load = try await [Conversation.begun(tokens: 40), Conversation.begun(tokens: 40)]
        let before = try await pool.ready(2)
        // With the bus standing still the order to stop can't reach systemd: the supervisor dies with it unsaid.
        let bus = try await pool.mainPID(of: "dbus.service")
        kill(bus, SIGSTOP)
        defer { kill(bus, SIGCONT) }
        for stream in load { #expect(try await Conversation.finish(stream).isDone) }
        // The dispatcher has answered `retired`, and has no lease for it any more.
        let stops = try await pool.entry(containing: " stops: surplus")
        let retired = try #require(stops.instance)
        #expect(try await pool.status().maxConcurrent == 1)
        kill(try await pool.mainPID(of: InstalledPool.supervisor), SIGKILL)
        kill(bus, SIGKILL)
        try await systemctl("start", "dbus.service")

        // The load is back: the retired instance runs still, and serves again.
        let streams = try await [Conversation.begun(tokens: 60), Conversation.begun(tokens: 60)]
        let after = try await pool.status("both serve again") { $0.maxConcurrent == 2 && $0.inFlight == 2 }
        #expect(after.instance(retired)?.mainPID == before.instance(retired)?.mainPID)
        #expect(after.running.map(\.mainPID) == before.running.map(\.mainPID))
        for stream in streams { #expect(try await Conversation.finish(stream).isDone) }
        try await pool.status(within: .seconds(30), "no instance is left idle for ever") { $0.running.count == 1 }
        try await eventually("the other unit is gone") { try await pool.instanceUnits().count == 1 }
      }
    }

    /// As ``SystemTests/two``, but what is surplus stays for a while, and can be looked at.
    private let twoThatStay = "scaling: {min: 2, cold_start: 1s, window: 2s, shrink: 100%, idle_hold: 1m}"

    @Test func theSupervisorMayDieInTheMiddleOfADrain() async throws {
      try await InstalledPool.running(twoThatStay) { pool in
        let before = try await pool.ready(2)
        let one = try await Conversation.begun(tokens: 120)
        let other = try await Conversation.begun(tokens: 120)
        _ = try await pool.pool("restart", "gpu0")
        try await pool.status("gpu0 drains") { $0.instance("gpu0")?.state == "draining" }
        try await pool.kill("SIGKILL", InstalledPool.supervisor)
        #expect(try await Conversation.finish(one).isDone)
        #expect(try await Conversation.finish(other).isDone)
        try await pool.status("gpu0 was restarted, and no instance is left idle for ever") { status in
          status.running.allSatisfy { $0.state == "ready" } && status.maxConcurrent == status.running.count
            && wasRestarted("gpu0", status, since: before)
        }
      }
    }

    @Test func theDispatcherMayDieInTheMiddleOfADrainAndLoadMayComeBack() async throws {
      try await InstalledPool.running(twoThatStay) { pool in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 2_000)
        let busy = try await pool.status("one has the stream") { $0.inFlight == 1 }.instances.first { $0.active == 1 }
        let id = try #require(busy?.id)
        _ = try await pool.pool("restart", id)
        try await pool.status("\(id) drains") { $0.instance(id)?.state == "draining" }
        try await pool.kill("SIGKILL", InstalledPool.dispatcher)
        let answers = try await withThrowingTaskGroup(of: Bool.self) { group in
          for _ in 0..<6 { group.addTask { try await Conversation.chat(tokens: 20).isDone } }
          return try await group.reduce(into: [Bool]()) { $0.append($1) }
        }
        #expect(answers.allSatisfy { $0 })
        await stream.close()
        try await pool.status(within: .seconds(30), "\(id) was restarted") { status in
          status.running.allSatisfy { $0.state == "ready" } && status.maxConcurrent >= 2
            && wasRestarted(id, status, since: before)
        }
      }
    }

    private func wasRestarted(_ id: String, _ now: InstalledPool.Status, since before: InstalledPool.Status) -> Bool {
      now.instance(id)?.state == "ready" && now.instance(id)?.mainPID != before.instance(id)?.mainPID
    }
  }
}
