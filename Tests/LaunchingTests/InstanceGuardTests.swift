import Foundation
import Glibc
import TestSupport
import Testing

@testable import Launching

/// The executables that these suites need are built along with them.
enum Guard {
  static let path = BuiltProduct.path("ollama-pool")
  static let isBuilt = access(path, X_OK) == 0

  /// A guard on its own; its standard input is the pool's life.
  static func start(
    _ program: String, grace: Int = 300, environment: [String: String?] = [:],
    descriptors: [(own: Int32, inProgram: Int32)] = []
  ) throws -> RunningProgram {
    try RunningProgram(
      path, [InstanceGuard.subcommand, String(grace), program, "serve"], environment: environment,
      descriptors: descriptors)
  }
}

@Suite(.enabled(if: Guard.isBuilt, "needs the executable ollama-pool: swift build"), .timeLimit(.minutes(1)))
struct InstanceGuardTests {
  @Test func `the instance's status becomes the guard's`() async throws {
    for (body, status) in [("exit 7", 7), ("exit 0", 0), ("kill -KILL $$", 128 + SIGKILL)] {
      let script = try await Script(body)
      #expect(try await Guard.start(script.path).wait() == .exited(status), "\(body)")
    }
    #expect(try await Guard.start("/nonexistent/ollama").wait() == .exited(127))
    #expect(try await run(Guard.path, [InstanceGuard.subcommand]).end == .exited(64))
    #expect(try await run(Guard.path, [InstanceGuard.subcommand, "-1", "/bin/true"]).end == .exited(64))
    #expect(try await run(Guard.path, [InstanceGuard.subcommand, "x", "/bin/true"]).end == .exited(64))
  }

  @Test func `the instance has a session of its own, no input, default signals, and no descriptor but three`()
    async throws
  {
    let script = try await Script(
      "ls /proc/$$/fd > $0.fds; readlink /proc/$$/fd/0 > $0.input; grep '^Sig[BI]' /proc/self/status > $0.signals; "
        + "echo $$ > $0.pid; echo to-output; echo to-error >&2; exec sleep 1000")
    let extra = open("/dev/null", O_RDONLY)
    defer { close(extra) }
    let running = try Guard.start(script.path, descriptors: [(extra, 7), (extra, 9)])
    let instance = try #require(try await script.processIDs("pid", count: 1).first)
    // The shell itself has the script open, at 10 or so.
    let descriptors = try await script.said("fds").split(separator: "\n").compactMap { Int($0) }
    #expect(descriptors.filter { $0 < 10 } == [0, 1, 2])
    #expect(try await script.said("input") == "/dev/null\n")
    for line in try await script.said("signals").split(separator: "\n") {
      // Without 32 and 33, which are the C library's own.
      let signals = try #require(UInt64(line.split(separator: "\t")[1], radix: 16)) & ~0x1_8000_0000
      #expect(signals == 0, "\(line)")
    }
    #expect(getsid(instance) == instance)
    #expect(fields(ofProcess: instance)[1] == "\(running.processID)")
    try await running.line(containing: "to-output")
    try await running.line(containing: "to-error")
    #expect(running.output == "")
    running.closeInput()
    #expect(try await running.wait() == .exited(128 + SIGTERM))
    #expect(!isAlive(instance))
  }

  @Test func `the end of the pool ends the instance by SIGTERM first`() async throws {
    let script = try await Script(
      "trap 'echo bye > $0.bye; exit 3' TERM; echo $$ > $0.pid; while :; do sleep 0.05; done")
    let running = try Guard.start(script.path, grace: 20_000)
    _ = try await script.processIDs("pid", count: 1)
    running.closeInput()
    #expect(try await running.wait() == .exited(3))
    #expect(try await script.said("bye") == "bye\n")
  }

  @Test func `what ignores SIGTERM is killed after the grace, with all that descends from it`() async throws {
    // One child in the instance's process group, one in a session of its own, one whose parents are gone.
    let script = try await Script(
      """
      trap '' TERM
      sh -c 'echo $$ >> "$0".pids; while :; do sleep 1; done' "$0" &
      setsid sh -c 'echo $$ >> "$0".pids; trap "" TERM HUP; while :; do sleep 1; done' "$0" &
      (setsid sh -c '(sh -c "echo \\$\\$ >> $0.pids; exec sleep 1000" &)' "$0" &)
      echo $$ >> $0.pids
      while :; do sleep 1; done
      """)
    let running = try Guard.start(script.path)
    let processes = try await script.processIDs("pids", count: 4)
    #expect(processes.allSatisfy(isAlive))
    let began = ContinuousClock.now
    running.closeInput()
    #expect(try await running.wait() == .exited(128 + SIGKILL))
    #expect(ContinuousClock.now - began >= .milliseconds(300))
    #expect(!processes.contains(where: isAlive))
  }

  @Test func `an instance that was killed leaves no child, and one that was stopped is ended`() async throws {
    let body = "sh -c 'echo $$ >> \"$0\".pids; exec sleep 1000' \"$0\" & echo $$ >> $0.pids; wait"
    for (number, end) in [(SIGKILL, 128 + SIGKILL), (SIGSTOP, 128 + SIGTERM)] {
      let script = try await Script(body)
      let running = try Guard.start(script.path)
      let processes = try await script.processIDs("pids", count: 2)
      let children = processes.filter { fields(ofProcess: $0)[1] != "\(running.processID)" }
      let instance = try #require(processes.first { !children.contains($0) })
      kill(instance, number)
      if number == SIGSTOP { running.signal(SIGTERM) }
      #expect(try await running.wait() == .exited(end))
      #expect(!processes.contains(where: isAlive))
    }
  }

  @Test func `a tree that grows while it is killed is killed`() async throws {
    let script = try await Script(
      "trap '' TERM; echo $$ > $0.pid; while :; do (setsid sleep 1000 &); sleep 0.01; done")
    let running = try Guard.start(script.path, grace: 100)
    _ = try await script.processIDs("pid", count: 1)
    try await eventually("there are some") { ProcessTree.descendants(of: running.processID).count > 10 }
    let some = ProcessTree.descendants(of: running.processID)
    running.closeInput()
    _ = try await running.wait()
    #expect(!some.contains(where: isAlive))
  }

  @Test(arguments: [SIGTERM, SIGINT, SIGHUP]) func `a signal to the guard ends the instance`(number: Int32) async throws
  {
    let script = try await Script("trap 'exit 5' TERM; echo $$ > $0.pid; while :; do sleep 0.05; done")
    let running = try Guard.start(script.path, grace: 20_000)
    _ = try await script.processIDs("pid", count: 1)
    running.signal(number)
    #expect(try await running.wait() == .exited(5))
  }

  @Test func `a pool that is killed by SIGKILL takes its instances along`() async throws {
    let script = try await Script("sh -c 'echo $$ >> \"$0\".pids; exec sleep 1000' \"$0\" & echo $$ >> $0.pids; wait")
    let pool = try RunningProgram(
      "python3",
      [
        "-c",
        """
        import signal, socket, subprocess, sys
        ours, theirs = socket.socketpair()
        guard = subprocess.Popen(sys.argv[1:], stdin=theirs, start_new_session=True)
        theirs.close()
        print(guard.pid, ours.recv(100).decode(), flush=True)
        signal.pause()
        """, Guard.path, InstanceGuard.subcommand, "300", script.path, "serve",
      ])
    let words = try await pool.line(containing: "started").split(separator: " ")
    let processes = try await script.processIDs("pids", count: 2) + words.compactMap { Int32($0) }
    #expect(processes.count == 4 && processes.allSatisfy(isAlive), "\(words)")
    pool.signal(SIGKILL)
    try await eventually("nothing is left") { !processes.contains(where: isAlive) }
  }

  @Test func `messages are read as they are written, and nothing else is`() {
    for message in [.started(1), .failed(Errno(code: 2)), .ended(.exited(0)), .ended(.killed(signal: 9))]
      as [GuardMessage]
    {
      #expect(GuardMessage(line: message.line.dropLast()) == message)
    }
    for text in ["", "started", "started x", "started 1 2", "begun 1", "exited 99999999999"] {
      #expect(GuardMessage(line: text) == nil)
    }
    #expect(ProcessEnd(waitStatus: 3 << 8).reason == "exit status 3")
    #expect(ProcessEnd(waitStatus: SIGSEGV | 0x80).reason == "killed by SIGSEGV")
    #expect(ProcessEnd.killed(signal: 60).reason == "killed by signal 60")
  }

  @Test func `lines are cut where they end, and where they get too long`() {
    var splitter = LineSplitter()
    #expect(splitter.add(Array("one\ntwo\n\nthr".utf8)) == ["one", "two", ""])
    #expect(splitter.add(Array("ee\n".utf8)) == ["three"])
    #expect(splitter.finish() == nil)
    let long = splitter.add(Array(repeating: UInt8(ascii: "x"), count: 2 * LineSplitter.longestLine + 5))
    #expect(long.map(\.utf8.count) == [LineSplitter.longestLine, LineSplitter.longestLine])
    #expect(splitter.finish() == "xxxxx")
    #expect(splitter.add([0xff, 0xfe, 10]) == ["\u{FFFD}\u{FFFD}"])
  }
}
