import Foundation
import Glibc
import PoolCore
import Systemd
import TestSupport
import Testing

@testable import Launching

@Suite struct ProcessFilesTests {
  /// With a /proc that has these files of process 7.
  private func with<Value>(_ files: [String: String], _ body: (String) throws -> Value) throws -> Value {
    let folder = try TemporaryDirectory()
    defer { withExtendedLifetime(folder) {} }
    try #require(mkdir(folder.path(to: "7"), 0o755) == 0)
    for (name, text) in files { try folder.write(text, to: "7/\(name)") }
    return try body(folder.path)
  }

  @Test func `an instance's unit is found in a process's control groups, wherever it is`() throws {
    let unit = "ollamapool.slice/ollama-instance-gpu0.service"
    let cases: [(String, ProcessFiles.Membership)] = [
      ("0::/\(unit)\n", .unit("gpu0", ofUserManager: false)),
      ("0::/host/\(unit)/below\n", .unit("gpu0", ofUserManager: false)),
      ("0::/user.slice/user-0.slice/user@0.service/\(unit)\n", .unit("gpu0", ofUserManager: true)),
      ("9:memory:/\(unit)\n1:name=systemd:/\(unit)\n0::/\(unit)\n", .unit("gpu0", ofUserManager: false)),
      ("9:memory:/\n0::/\(unit)\n", .unit("gpu0", ofUserManager: false)),
      ("0::/system.slice/ollama-pool-supervisor.service\n", .noInstance),
      ("0::/system.slice/ollama-instance-gpu0.service.other\n", .noInstance),
      ("0::/system.slice/not-ollama-instance-gpu0.service\n", .noInstance),
      ("0::/system.slice/ollama-instance-GPU 0.service\n", .noInstance),
      ("0::/ollama-instance-.service/ollama-instance-a.service\n", .unit("a", ofUserManager: false)),
      ("0::/\n", .noInstance), ("", .noInstance),
    ]
    for (text, expected) in cases {
      #expect(try with(["cgroup": text]) { ProcessFiles.unit(of: 7, root: $0) } == expected, "\(text)")
    }
    #expect(try with([:]) { ProcessFiles.unit(of: 8, root: $0) } == nil)
  }

  @Test func `a command is the program's name, printable and short`() throws {
    let cases: [(String, String, String)] = [
      ("/usr/bin/python3\0train.py\0", "python3", "python3"),
      ("/opt/My App/train\0--fast\0", "x", "train"), ("./train\0", "x", "train"), ("train", "x", "train"),
      ("nginx: worker process", "nginx", "nginx"), ("postgres: eva db 10.0.0.7(80) idle", "x", "postgres"),
      ("", "kworker/0:1\n", "kworker/0:1"), ("\0\0", "cleared\n", "cleared"), ("/", "x\n", "x"),
      ("/bin/\u{1b}[31mred\u{7}\0", "x", "[31mred"), ("/bin/\u{202e}evil\0", "x", "evil"), ("", "", "?"),
      ("/bin/" + String(repeating: "a", count: 100), "x", String(repeating: "a", count: 64)),
      (String(repeating: "/a", count: 5000), "x", "a"),
    ]
    for (arguments, name, expected) in cases {
      let command = try with(["cmdline": arguments, "comm": name]) { ProcessFiles.command(of: 7, root: $0) }
      #expect(command == expected, "\(arguments)")
    }
    #expect(try with([:]) { ProcessFiles.command(of: 8, root: $0) } == nil)
    let garbled = try with(["comm": "x"]) { root in
      try Data([0x2f, 0xff, 0xfe, 0x41, 0]).write(to: URL(fileURLWithPath: root + "/7/cmdline"))
      return ProcessFiles.command(of: 7, root: root)
    }
    #expect(garbled == "\u{FFFD}\u{FFFD}A")
  }

  @Test func `a parent is read past any name`() throws {
    for (text, parent) in [
      ("7 (sleep) S 5 7 7", 5), ("7 (a) b) (c) Z 6 7", 6), ("7 (x", nil), ("", nil), ("7 (x) S y 1", nil),
    ] as [(String, pid_t?)] {
      #expect(try with(["stat": text]) { ProcessFiles.parent(of: 7, root: $0) } == parent, "\(text)")
    }
  }

  @Test func `a thousand processes are told apart in well under a second`() {
    let began = ContinuousClock.now
    for _ in 0..<1000 {
      #expect(ProcessFiles.unit(of: getpid()) != nil)
      #expect(ProcessFiles.command(of: getpid()) != nil)
    }
    #expect(ContinuousClock.now - began < .seconds(1))
  }
}

extension ChildLauncherTests {
  @Test func `whose a process is is told by what it descends from`() async throws {
    // As in production, where it is /proc/self/exe, the file's name is not the program's.
    let folder = try TemporaryDirectory()
    let program = folder.path(to: "exe")
    try FileManager.default.createSymbolicLink(atPath: program, withDestinationPath: Guard.path)
    let launcher = ChildLauncher(guardCommand: [program, InstanceGuard.subcommand], output: .text(descriptor: -1))
    let script = try await Script(
      "(setsid sh -c 'echo $$ >> \"$0\".pids; exec sleep 1000' \"$0\" &); echo $$ >> $0.pids; while :; do sleep 1; done"
    )
    let unit = try await launcher.start(.example(executable: script.path), port: 11500)
    for process in try await script.processIDs("pids", count: 2) {
      #expect(launcher.instance(ofProcess: process) == .instance("gpu0"))
    }
    let guardProcess = try #require(Int32(fields(ofProcess: unit.mainPID)[1]))
    #expect(launcher.instance(ofProcess: guardProcess) == .instance("gpu0"))
    #expect(await SeenProcess.look(at: unit.mainPID)?.isPools == true)
    #expect(ProcessFiles.kernelName(of: guardProcess) == "ollama-pool")
    let other = try RunningProgram("sleep", ["1000"])
    #expect(launcher.instance(ofProcess: other.processID) == .other(command: "sleep"))
    #expect(launcher.instance(ofProcess: unit.mainPID, readsArguments: false) == .instance("gpu0"))
    let renamed = try RunningProgram("bash", ["-c", "exec -a a-name-of-more-than-fifteen sleep 1000"])
    try await eventually("it is called so") {
      launcher.instance(ofProcess: renamed.processID) == .other(command: "a-name-of-more-than-fifteen")
    }
    #expect(launcher.instance(ofProcess: renamed.processID, readsArguments: false) == .other(command: "sleep"))
    if case .other = launcher.instance(ofProcess: getpid()) {} else { Issue.record("the pool is no instance") }
    for none in [0, -1, 4_194_305] as [Int32] { #expect(launcher.instance(ofProcess: none) == .unknown) }
    await launcher.close()
    #expect(launcher.instance(ofProcess: unit.mainPID) == .unknown)
  }
}

extension SystemdLauncherTests {
  @Test func `whose a process is is told by its unit, and another pool's instance is somebody else's`() async throws {
    try await withLauncher { launcher, witness in
      let script = try await Script("setsid sleep 1000 & \(Self.waits)")
      let unit = try await launcher.start(.example("who", gpus: [], executable: script.path), port: 11500)
      let tree = try await eventualValue("its child runs") {
        let tree = ProcessTree.descendants(of: unit.mainPID)
        return tree.count >= 2 ? tree : nil
      }
      for process in tree + [unit.mainPID] {
        #expect(launcher.instance(ofProcess: process) == .instance("who"))
      }
      let foreign = try await SystemdLauncher.connect(to: .system, owner: otherOwner)
      #expect(foreign.instance(ofProcess: unit.mainPID) == .other(command: "sh"))
      await foreign.close()
      #expect(launcher.instance(ofProcess: 1) == .other(command: "systemd"))
      #expect(launcher.instance(ofProcess: 1, readsArguments: false) == .other(command: "systemd"))
      #expect(launcher.instance(ofProcess: unit.mainPID, readsArguments: false) == .instance("who"))
      #expect(launcher.instance(ofProcess: 4_194_305) == .unknown)

      let second = try await SystemdLauncher.connect(to: .system, owner: owner)
      _ = try await second.existing()
      #expect(second.instance(ofProcess: unit.mainPID) == .instance("who"))
      await second.close()
      try await launcher.stop("who", unit.invocation, kill: true)
      _ = try await witness.end(of: unit.invocation)
      #expect(launcher.instance(ofProcess: unit.mainPID) == .unknown)
    }
  }
}
