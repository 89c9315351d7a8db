import Foundation
import Glibc
import TestSupport
import Testing

@testable import Systemd

/// The bus against a real systemd. Restarts of dbus and systemd concern every connection, so one test at a time.
@Suite(.serialized, .enabled(if: SystemdHost.isAvailable, SystemdHost.remedy), .timeLimit(.minutes(2)))
struct SystemdBusTests {
  private static let sleep: [UnitProperty] = [
    .type(.exec), .execStart("/bin/sleep", ["1000"]), .collectMode(.inactiveOrFailed),
  ]

  /// Everything that an instance's unit may have, as in Launching.
  private static let everyProperty: [UnitProperty] =
    [
      .description("A unit with every property"), .type(.exec), .slice("system.slice"),
      .partOf(["multi-user.target"]), .before(["shutdown.target"]),
      .execStart(
        "/bin/sh", ["-c", "printf '%s\\n' \"$0\" \"$STATE_DIRECTORY\"; id -nu; umask; exec sleep 1000", "$HOME"]),
      .environment([(name: "POOL_SPEC", value: "abc 123"), (name: "OLLAMA_HOST", value: "127.0.0.1:11500")]),
      .user("daemon"), .supplementaryGroups(["video"]), .collectMode(.inactiveOrFailed),
      .addRef(true), .syslogIdentifier("every"),
      .logExtraFields([(name: "POOL_INSTANCE", value: "gpu7"), (name: "POOL_GPU", value: "GPU-1-2")]),
      .killMode(.mixed), .killSignal(SIGTERM), .sendSIGKILL(true), .timeoutStop(.seconds(5)),
      .memoryMax(bytes: 1 << 30), .tasksMax(512), .limitNOFILE(65_536), .oomScoreAdjust(200),
      .devicePolicy(.closed), .deviceAllow([(path: "/dev/null", permissions: "rw")]), .stateDirectory(["every"]),
      .stateDirectoryMode(0o700), .umask(0o077),
      .readWritePaths(["/var/tmp"]), .readOnlyPaths(["-/srv"]), .requiresMountsFor(["/var/tmp"]), .cpuAffinity([0]),
      .protectSystem(.strict), .protectHome(.yes), .privateTmp(true), .noNewPrivileges(true),
      .capabilityBoundingSet(0), .restrictAddressFamilies(["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"]),
      .systemCallFilter(["@system-service"]), .systemCallArchitectures(["native"]),
    ] + UnitProperty.preferredMemory(ofNode: 0) + [.allowLoopback, .denyAddresses(true)]
    + UnitProperty.Protection.allCases.map { .enable($0) }

  private func withBus(
    deadline: Duration = .seconds(30), _ body: (SystemdBus) async throws -> Void
  ) async throws {
    let bus = try await SystemdBus.connect(deadline: deadline)
    do {
      try await body(bus)
    } catch {
      await bus.close()
      throw error
    }
    await bus.close()
  }

  private func code(of body: () async throws -> Void) async throws -> SystemdError.Code? {
    do {
      try await body()
      return nil
    } catch let error as SystemdError {
      return error.code
    }
  }

  private func systemctl(_ arguments: String...) async throws {
    let result = try await run("systemctl", arguments)
    try #require(result.end == .exited(0), "\(result.errorOutput)")
  }

  // MARK: A unit's life

  @Test func aUnitIsStartedReadListedKilledAndStopped() async throws {
    try await withBus { bus in
      #expect(try await bus.startTransientUnit("t-life.service", properties: Self.sleep + [.addRef(true)]) == .done)
      let status = try await bus.unitProperties("t-life.service")
      #expect(status.state.activeState == .active)
      #expect(status.state.invocationID?.wholeMatch(of: /[0-9a-f]{32}/) != nil)
      #expect((status.activeEnterTimestampMonotonic ?? 0) > 0)
      let mainPID = try #require(status.state.mainPID)
      #expect(try String(contentsOfFile: "/proc/\(mainPID)/comm", encoding: .utf8) == "sleep\n")

      let listed = try await bus.listUnits(patterns: ["t-li*.service"])
      #expect(listed == ["t-life.service"])
      #expect(try await bus.listUnits(patterns: ["t-nothing-*"]).isEmpty)

      try await bus.killUnit("t-life.service", whom: .main, signal: SIGKILL)
      try await eventually("the unit has failed") {
        try await bus.unitProperties("t-life.service").state.activeState == .failed
      }
      let ended = try await bus.unitProperties("t-life.service").state
      #expect(ended.result == "signal")
      #expect(ended.execMainCode == CLD_KILLED)
      #expect(ended.execMainStatus == SIGKILL)
      #expect(ended.mainPID == nil)
      try await bus.unref("t-life.service")
      try await eventually("the unit is collected") { try await bus.listUnits(patterns: ["t-life.service"]).isEmpty }

      #expect(try await bus.startTransientUnit("t-life.service", properties: Self.sleep) == .done)
      #expect(try await bus.stopUnit("t-life.service") == .done)
      #expect(try await code { _ = try await bus.unitProperties("t-life.service") } == .noSuchUnit)
    }
  }

  @Test func everyPropertyIsAcceptedAndActs() async throws {
    try await withBus { bus in
      #expect(try await bus.startTransientUnit("t-every.service", properties: Self.everyProperty) == .done)
      let status = try await bus.unitProperties("t-every.service")
      #expect(status.environment == ["POOL_SPEC=abc 123", "OLLAMA_HOST=127.0.0.1:11500"])
      let shown = try await run(
        "systemctl",
        [
          "show", "t-every.service", "-p", "Description,User,MemoryMax,TasksMax,LimitNOFILE,KillMode",
          "-p", "DevicePolicy,DeviceAllow,CapabilityBoundingSet,TimeoutStopUSec,PartOf",
          "-p", "OOMScoreAdjust,ProtectHostname,RestrictSUIDSGID,ProtectSystem,SupplementaryGroups,UMask,Before",
        ])
      let lines = Set(shown.output.split(separator: "\n").map(String.init))
      let expected: Set = [
        "Description=A unit with every property", "User=daemon", "MemoryMax=1073741824", "TasksMax=512",
        "LimitNOFILE=65536", "KillMode=mixed", "DevicePolicy=closed", "DeviceAllow=/dev/null rw",
        "CapabilityBoundingSet=", "TimeoutStopUSec=5s", "PartOf=multi-user.target", "OOMScoreAdjust=200",
        "ProtectHostname=yes", "RestrictSUIDSGID=yes", "ProtectSystem=strict", "SupplementaryGroups=video",
        "UMask=0077",
        "Before=shutdown.target",
      ]
      #expect(expected.subtracting(lines) == [])
      // The program's own view, and the extra fields on its output.
      let output = try await eventualValue("the unit's output is in the journal") {
        let entries = try await journal(["-u", "t-every.service", "POOL_INSTANCE=gpu7", "SYSLOG_IDENTIFIER=every"])
        return entries.count >= 4 ? entries : nil
      }
      #expect(output.prefix(4).map { $0["MESSAGE"] } == ["$HOME", "/var/lib/every", "daemon", "0077"])
      #expect(output.allSatisfy { $0["POOL_GPU"] == "GPU-1-2" })
      #expect(try await bus.stopUnit("t-every.service") == .done)
      try await bus.unref("t-every.service")
    }
  }

  @Test func twentyAtOnceAllStartAndStop() async throws {
    try await withBus { bus in
      for stop in [false, true] {
        let results = try await withThrowingTaskGroup(of: JobResult.self) { group in
          for number in 0..<20 {
            group.addTask {
              stop
                ? try await bus.stopUnit("t-many-\(number).service")
                : try await bus.startTransientUnit("t-many-\(number).service", properties: Self.sleep)
            }
          }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results == Array(repeating: .done, count: 20))
        #expect(try await bus.listUnits(patterns: ["t-many-*"]).count == (stop ? 0 : 20))
      }
    }
  }

  @Test func variablesThatAllUnitsGetAreTold() async throws {
    try await withBus { bus in
      try await systemctl("set-environment", "T_FOR_ALL=a b")
      #expect(try await bus.environment().contains("T_FOR_ALL=a b"))
      try await systemctl("unset-environment", "T_FOR_ALL")
      #expect(try await bus.environment().contains("T_FOR_ALL=a b") == false)
    }
  }

  @Test func aThousandCallsAtOnceAreAllAnswered() async throws {
    try await withBus { bus in
      let versions = try await withThrowingTaskGroup(of: String.self) { group in
        for _ in 0..<1000 { group.addTask { try await bus.version() } }
        return try await group.reduce(into: Set<String>()) { $0.insert($1) }
      }
      #expect(versions.count == 1)
      #expect(versions.first?.first?.isNumber == true)
      #expect(ServiceManager.isBooted)
    }
  }

  @Test func theUserManagerStartsUnitsToo() async throws {
    // It ends with a bus that is killed, and not every time is it started again.
    _ = try await run("systemctl", ["reset-failed", "systemd-logind.service"])
    let logind = try await run("systemctl", ["start", "systemd-logind.service"])
    try #require(logind.end == .exited(0), "user managers need logind: Tests/with-systemd --with-logind")
    try await systemctl("start", "user@0.service")
    await #expect(processExitsWith: .success) {
      setenv("XDG_RUNTIME_DIR", "/run/user/0", 1)
      unsetenv("DBUS_SESSION_BUS_ADDRESS")
      // The first to connect brings up the user's bus, and systemd comes to it a moment later.
      let bus = try await SystemdBus.connect(to: .user)
      let started = try await bus.startTransientUnit("t-user.service", properties: Self.sleep)
      let mainPID = try #require(try await bus.unitProperties("t-user.service").state.mainPID)
      let group = try String(contentsOfFile: "/proc/\(mainPID)/cgroup", encoding: .utf8)
      let stopped = try await bus.stopUnit("t-user.service")
      try #require(started == .done && stopped == .done && group.contains("/user.slice/"))
    }
  }

  // MARK: Refusals

  @Test func refusalsHaveTheirCodes() async throws {
    try await withBus { bus in
      let program = UnitProperty.execStart("/bin/true")
      func start(_ name: String, _ properties: [UnitProperty]) async throws -> SystemdError.Code? {
        try await code { _ = try await bus.startTransientUnit(name, properties: properties) }
      }
      _ = try await bus.startTransientUnit("t-twice.service", properties: Self.sleep)
      #expect(try await start("t-twice.service", Self.sleep) == .unitExists)
      #expect(try await start("t bad!.service", [program]) == .invalidArguments)
      #expect(try await start("t-no-suffix", [program]) == .invalidArguments)
      #expect(try await start("t-x.service", [program, .init("NoSuchProperty", .string("x"))]) == .unknownProperty)
      #expect(try await start("t-x.service", [program, .init("MemoryMax", .string("1G"))]) == .invalidArguments)
      #expect(try await start("t-x.service", [.description("no program")]) == .badUnitSetting)
      #expect(try await code { try await bus.stopUnit("t-none.service") } == .noSuchUnit)
      #expect(try await code { try await bus.killUnit("t-none.service", whom: .all, signal: 15) } == .noSuchUnit)
      #expect(try await code { try await bus.resetFailedUnit("t-none.service") } == .noSuchUnit)
      #expect(try await code { _ = try await bus.unitProperties("t-none.service") } == .noSuchUnit)
      try await bus.stopUnit("t-twice.service")
    }
  }

  @Test func aMissingProgramFailsTheJobAndTheLingeringUnitKeepsItsName() async throws {
    try await withBus { bus in
      let missing: [UnitProperty] = [.type(.exec), .execStart("/no/such/program"), .collectMode(.inactive)]
      #expect(try await bus.startTransientUnit("t-missing.service", properties: missing) == .failed)
      let status = try await bus.unitProperties("t-missing.service")
      #expect(status.state.activeState == .failed)
      #expect(status.state.result == "exit-code")
      #expect(status.state.execMainStatus == 203)
      #expect(
        try await code { _ = try await bus.startTransientUnit("t-missing.service", properties: missing) } == .unitExists
      )
      try await bus.resetFailedUnit("t-missing.service")
      #expect(try await bus.startTransientUnit("t-missing.service", properties: Self.sleep) == .done)
      try await bus.stopUnit("t-missing.service")
    }
  }

  @Test func aCallerWithoutTheRightIsDenied() async throws {
    // Another user than root, by a child: setuid would change this whole process.
    let result = try await run(
      "setpriv",
      [
        "--reuid=nobody", "--regid=nogroup", "--clear-groups", "busctl", "call", "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "StopUnit", "ss", "dbus.service", "replace",
      ])
    #expect(result.end != .exited(0))
    let name = try await run(
      "setpriv",
      [
        "--reuid=nobody", "--regid=nogroup", "--clear-groups", "dbus-send", "--system", "--print-reply",
        "--dest=org.freedesktop.systemd1", "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager.StopUnit", "string:dbus.service", "string:replace",
      ]
    ).errorOutput.firstMatch(of: /Error (\S+):/)?.1
    #expect(SystemdError.Code(dbusName: String(name ?? "")) == .accessDenied)
  }

  // MARK: Changes

  @Test func changesTellTheLifeOfTheUnitsWithThePrefixOnce() async throws {
    try await withBus { bus in
      let changes = try await bus.unitChanges(withPrefix: "t-watched-")
      _ = try await bus.startTransientUnit("t-unwatched-a.service", properties: Self.sleep)
      _ = try await bus.startTransientUnit("t-watched-a.service", properties: Self.sleep)
      try await bus.stopUnit("t-unwatched-a.service")
      try await bus.killUnit("t-watched-a.service", whom: .main, signal: SIGKILL)
      var seen: [UnitChange] = []
      for await change in changes {
        seen.append(change)
        if change == .removed(name: "t-watched-a.service") { break }
      }
      let states = seen.compactMap { if case .changed(let state) = $0 { state } else { nil } }
      #expect(Set(states.map(\.name)) == ["t-watched-a.service"])
      #expect(states.contains { $0.activeState == .active && $0.mainPID != nil })
      #expect(states.contains { $0.activeState == .failed && $0.result == "signal" && $0.mainPID == nil })
      #expect(zip(states, states.dropFirst()).allSatisfy { $0 != $1 })
    }
  }

  // MARK: Losses

  @Test func aRestartOfDBusEndsWhatIsUnderWayAndTheBusComesBack() async throws {
    try await withBus { bus in
      let changes = try await bus.unitChanges(withPrefix: "t-dbus-")
      let waiting = Task { try await bus.startTransientUnit("t-dbus-a.service", properties: Self.neverReady) }
      try await eventually("the unit is starting") {
        try await bus.unitProperties("t-dbus-a.service").state.activeState == .activating
      }
      try await systemctl("restart", "dbus.service")
      #expect(try await code { _ = try await waiting.value } == .connectionLost)
      await wait(for: .reconnected, in: changes)
      #expect(try await bus.listUnits(patterns: ["t-dbus-*"]) == ["t-dbus-a.service"])
      #expect(try await bus.startTransientUnit("t-dbus-b.service", properties: Self.sleep) == .done)
      try await bus.stopUnit("t-dbus-b.service")
      try await bus.stopUnit("t-dbus-a.service")
    }
  }

  @Test func whileTheBusIsAwayCallsFailAtOnceAndLaterItComesBack() async throws {
    try await withBus { bus in
      let changes = try await bus.unitChanges(withPrefix: "t-away-")
      try await systemctl("stop", "dbus.service", "dbus.socket")
      try await eventually("the loss is noticed") {
        try await code { _ = try await bus.version() } == .connectionLost
      }
      let begun = ContinuousClock.now
      #expect(try await code { _ = try await bus.listUnits(patterns: []) } == .connectionLost)
      #expect(ContinuousClock.now - begun < .seconds(1))
      try await systemctl("start", "dbus.socket", "dbus.service")
      await wait(for: .reconnected, in: changes)
      #expect(try await bus.version().isEmpty == false)
    }
  }

  @Test func signalsThatAnotherUserForgesAreIgnored() async throws {
    try await withBus { bus in
      let waiting = Task { try await bus.startTransientUnit("t-forged.service", properties: Self.neverReady) }
      let job = try await eventualValue("the start job is there") { try await startJob(of: "t-forged.service") }
      let names = try await ownBusNames()
      try #require(!names.isEmpty)
      for name in names { try await forgeEnd(of: job, to: name) }
      // Bus order: what was forged has arrived before this answer.
      _ = try await bus.version()
      try await bus.stopUnit("t-forged.service")
      #expect(try await waiting.value == .canceled)
    }
  }

  @Test func aReexecutionOfSystemdEndsWhatIsUnderWayAndTheBusComesBack() async throws {
    try await withBus { bus in
      let changes = try await bus.unitChanges(withPrefix: "t-reexec-")
      _ = try await bus.startTransientUnit("t-reexec-b.service", properties: Self.sleep)
      let mainPID = try await bus.unitProperties("t-reexec-b.service").state.mainPID
      let waiting = Task { try await bus.startTransientUnit("t-reexec-a.service", properties: Self.neverReady) }
      try await eventually("the unit is starting") {
        try await bus.unitProperties("t-reexec-a.service").state.activeState == .activating
      }
      try await systemctl("daemon-reexec")
      #expect(try await code { _ = try await waiting.value } == .connectionLost)
      await wait(for: .reconnected, in: changes)
      #expect(try await bus.unitProperties("t-reexec-b.service").state.mainPID == mainPID)
      // Signals come again: a job's end is told.
      #expect(try await bus.stopUnit("t-reexec-b.service") == .done)
      try await bus.stopUnit("t-reexec-a.service")
    }
  }

  @Test func aReloadOfSystemdAsksForAnotherList() async throws {
    try await withBus { bus in
      let changes = try await bus.unitChanges(withPrefix: "t-reload-")
      try await systemctl("daemon-reload")
      await wait(for: .reloaded, in: changes)
      #expect(try await bus.startTransientUnit("t-reload-a.service", properties: Self.sleep) == .done)
      try await bus.stopUnit("t-reload-a.service")
    }
  }

  // MARK: Ends

  @Test func aJobThatTakesTooLongEndsAtTheDeadline() async throws {
    try await withBus(deadline: .milliseconds(300)) { bus in
      let begun = ContinuousClock.now
      let code = try await code {
        _ = try await bus.startTransientUnit("t-late.service", properties: Self.neverReady)
      }
      #expect(code == .timedOut)
      #expect(ContinuousClock.now - begun < .seconds(5))
    }
    try await withBus { try await $0.stopUnit("t-late.service") }
  }

  @Test func aCancelledWaitEndsAndTheJobGoesOn() async throws {
    try await withBus { bus in
      let waiting = Task { try await bus.startTransientUnit("t-cancelled.service", properties: Self.neverReady) }
      try await eventually("the unit is starting") {
        try await bus.unitProperties("t-cancelled.service").state.activeState == .activating
      }
      waiting.cancel()
      #expect(try await code { _ = try await waiting.value } == .cancelled)
      #expect(try await bus.unitProperties("t-cancelled.service").state.activeState == .activating)
      try await bus.stopUnit("t-cancelled.service")
    }
  }

  @Test func aStoppedStartTellsThatItWasCanceled() async throws {
    try await withBus { bus in
      async let start = bus.startTransientUnit("t-canceled.service", properties: Self.neverReady)
      try await eventually("the unit is starting") {
        try await bus.unitProperties("t-canceled.service").state.activeState == .activating
      }
      #expect(try await bus.stopUnit("t-canceled.service") == .done)
      #expect(try await start == .canceled)
    }
  }

  @Test func closingEndsCallsAndStreamsAndMayBeRepeated() async throws {
    let bus = try await SystemdBus.connect()
    let changes = try await bus.unitChanges(withPrefix: "t-")
    let waiting = Task { try await bus.startTransientUnit("t-closed.service", properties: Self.neverReady) }
    try await eventually("the unit is starting") {
      try await bus.unitProperties("t-closed.service").state.activeState == .activating
    }
    await bus.close()
    await bus.close()
    #expect(try await code { _ = try await waiting.value } == .closed)
    for await _ in changes {}
    #expect(try await code { _ = try await bus.version() } == .closed)
    try await withBus { try await $0.stopUnit("t-closed.service") }
  }

  private func startJob(of unit: String) async throws -> String? {
    let jobs = try await run("systemctl", ["list-jobs", "--no-legend", "--plain"]).output
    return jobs.split(separator: "\n").first { $0.contains(unit) }?.split(separator: " ").first.map(String.init)
  }

  private func ownBusNames() async throws -> [String] {
    let rows = try await run("busctl", ["list", "--no-legend", "--unique"]).output.split(separator: "\n")
    let own = String(getpid())
    return rows.map { $0.split(separator: " ") }.filter { $0[1] == own }.map { String($0[0]) }
  }

  private func forgeEnd(of job: String, to name: String) async throws {
    let sent = try await run(
      "setpriv",
      [
        "--reuid=nobody", "--regid=nogroup", "--clear-groups", "dbus-send", "--system", "--type=signal",
        "--dest=\(name)", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.JobRemoved",
        "uint32:\(job)", "objpath:/org/freedesktop/systemd1/job/\(job)", "string:t-forged.service",
        "string:failed",
      ])
    #expect(sent.end == .exited(0), "\(sent.errorOutput)")
  }

  private static let neverReady: [UnitProperty] = [
    .type(.notify), .execStart("/bin/sleep", ["1000"]), .collectMode(.inactiveOrFailed),
  ]

  private func wait(for expected: UnitChange, in changes: AsyncStream<UnitChange>) async {
    for await change in changes where change == expected { return }
    Issue.record("the stream ended without .\(expected)")
  }
}

/// The journal's entries that match, each with its fields that are text.
func journal(_ matches: [String]) async throws -> [[String: String]] {
  let result = try await run("journalctl", ["-o", "json", "--no-pager", "-a"] + matches)
  return try result.output.split(separator: "\n").map { line in
    let fields = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
    return (fields ?? [:]).compactMapValues { $0 as? String }
  }
}
