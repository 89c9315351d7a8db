import Foundation
import Glibc
import PoolConfiguration
import PoolCore
import Systemd
import TestSupport
import Testing

@testable import Launching

@Suite(.enabled(if: Guard.isBuilt, "needs the executable ollama-pool: swift build"), .timeLimit(.minutes(1)))
struct ChildLauncherTests {
  static func launcher(output: Journal.Destination = .text(descriptor: -1)) -> ChildLauncher {
    ChildLauncher(guardCommand: [Guard.path, InstanceGuard.subcommand], output: output)
  }

  private static let waits = "trap 'exit 0' TERM; echo $$ > $0.pid; while :; do sleep 0.05; done"

  @Test func `an instance gets its variables, and the pool's but for those that are the pool's alone`() async throws {
    setenv("OLLAMA_LAUNCHING_TEST", "inherited", 1)
    setenv("NOTIFY_SOCKET", "/run/none", 1)
    setenv("HIP_VISIBLE_DEVICES", "3", 1)
    setenv("CUDA_VISIBLE_DEVICES", "3", 1)
    setenv("GPU_DEVICE_ORDINAL", "3", 1)
    setenv("https_proxy", "http://own", 1)
    defer {
      for name in [
        "OLLAMA_LAUNCHING_TEST", "NOTIFY_SOCKET", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL",
        "https_proxy",
      ] {
        unsetenv(name)
      }
    }
    let script = try await Script("env > $0.env; echo \"$@\" > $0.arguments; \(Self.waits)")
    let launcher = Self.launcher()
    let specification = InstanceSpecification.example(gpus: [.amd("GPU-r", render: 128)], executable: script.path) {
      $0.environment = ["EXTRA": "a=b c", "HTTPS_PROXY": "http://configured"]
    }
    let unit = try await launcher.start(specification, port: 11507)
    #expect(try await script.said("arguments") == "serve\n")
    #expect(try await script.processIDs("pid", count: 1) == [unit.mainPID])
    #expect(unit.address == "127.0.0.1:11507")
    #expect(unit.specification == specification.digest)
    #expect(unit.invocation.text.wholeMatch(of: /[0-9a-f]{32}/) != nil)
    let lines = Set(try await script.said("env").split(separator: "\n").map(String.init))
    for expected in [
      "OLLAMA_HOST=127.0.0.1:11507", "ROCR_VISIBLE_DEVICES=GPU-r", "EXTRA=a=b c",
      "HTTPS_PROXY=http://configured",
      "OLLAMA_LAUNCHING_TEST=inherited", "POOL_SPECIFICATION=\(specification.digest)", "POOL_INSTANCE=gpu0",
    ] { #expect(lines.contains(expected), "\(expected)") }
    #expect(lines.isSuperset(of: ["HIP_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=-1"]))
    for name in ["NOTIFY_SOCKET=", "https_proxy=", "GPU_DEVICE_ORDINAL="] {
      #expect(!lines.contains { $0.hasPrefix(name) }, "\(name)")
    }
    #expect(unit.hasNetwork == nil)
    await launcher.close()
    #expect(!isAlive(unit.mainPID))
  }

  @Test func `a stop lets it end, returns when it has, and tells its end once`() async throws {
    let launcher = Self.launcher()
    let witness = await Witness(launcher)
    let script = try await Script(Self.waits)
    let unit = try await launcher.start(.example(executable: script.path), port: 11500)
    _ = try await script.processIDs("pid", count: 1)
    await launcher.stop("gpu0", "another", kill: true)
    await launcher.stop("gpu1", unit.invocation, kill: true)
    #expect(isAlive(unit.mainPID))
    async let second: Void = launcher.stop("gpu0", unit.invocation, kill: false)
    await launcher.stop("gpu0", unit.invocation, kill: false)
    await second
    #expect(!isAlive(unit.mainPID))
    #expect(try await witness.end(of: unit.invocation) == "exit status 0")
    await launcher.stop("gpu0", unit.invocation, kill: false)

    let next = try await launcher.start(.example(executable: script.path), port: 11500)
    #expect(next.invocation != unit.invocation && next.mainPID != unit.mainPID)
    await launcher.stop("gpu0", next.invocation, kill: true)
    #expect(try await witness.end(of: next.invocation) == "killed by SIGKILL")
    #expect(await witness.ends(of: unit.invocation).count == 1)
    await launcher.close()
  }

  @Test func `a kill leaves nothing of one that ignores SIGTERM`() async throws {
    let script = try await Script(
      "trap '' TERM; setsid sh -c 'echo $$ >> \"$0\".pids; exec sleep 1000' \"$0\" & echo $$ >> $0.pids; wait; wait")
    let launcher = Self.launcher()
    let unit = try await launcher.start(.example(executable: script.path), port: 11500)
    let processes = try await script.processIDs("pids", count: 2)
    await launcher.stop("gpu0", unit.invocation, kill: true)
    #expect(!processes.contains(where: isAlive))
    await launcher.close()
  }

  @Test func `a program that is missing, no program, or not executable is named`() async throws {
    let launcher = Self.launcher()
    let witness = await Witness(launcher)
    let folder = try TemporaryDirectory()
    try folder.write("\u{7f}ELF nonsense", to: "broken", permissions: 0o755)
    try folder.write("", to: "plain")
    for (name, words) in [
      ("missing", "No such file"), ("plain", "Permission denied"), ("broken", "Exec format error"),
    ] {
      let error = try await launchError {
        try await launcher.start(.example(executable: folder.path(to: name)), port: 11500)
      }
      #expect(error.code == .missingExecutable)
      #expect(error.message.contains(folder.path(to: name)) && error.message.contains(words), "\(error)")
    }
    #expect(await witness.events == [])
    await launcher.close()
  }

  @Test func `what it says as its last word is its reason`() async throws {
    let launcher = Self.launcher()
    let witness = await Witness(launcher)
    let words = "listen tcp 127.0.0.1:11500: bind: address already in use"
    let script = try await Script("echo starting >&2; echo 'Error: \(words)' >&2; exit 1")
    let unit = try await launcher.start(.example(executable: script.path), port: 11500)
    #expect(try await witness.end(of: unit.invocation) == "exit status 1: Error: \(words)")
    await launcher.close()
  }

  @Test func `a guard that is killed takes its instance along, and that is told`() async throws {
    let launcher = Self.launcher()
    let witness = await Witness(launcher)
    let script = try await Script("sh -c 'echo $$ >> \"$0\".pids; exec sleep 1000' \"$0\" & echo $$ >> $0.pids; wait")
    let unit = try await launcher.start(.example(executable: script.path), port: 11500)
    let processes = try await script.processIDs("pids", count: 2)
    let guardProcess = try #require(Int32(fields(ofProcess: unit.mainPID)[1]))
    kill(guardProcess, SIGKILL)
    #expect(try await witness.end(of: unit.invocation).contains("killed by SIGKILL"))
    try await eventually("the instance is gone") { !processes.contains(where: isAlive) }
    await launcher.close()
  }

  @Test func `one that runs is returned as it is, and none starts after the close`() async throws {
    let launcher = Self.launcher()
    let witness = await Witness(launcher)
    let script = try await Script(Self.waits)
    let first = try await launcher.start(.example("gpu0", executable: script.path), port: 11500)
    #expect(try await launcher.start(.example("gpu0", executable: script.path), port: 11501) == first)
    let other = try await launcher.start(.example("gpu1", executable: script.path), port: 11501)
    #expect(launcher.existing().isEmpty)
    await launcher.close()
    #expect(!isAlive(first.mainPID) && !isAlive(other.mainPID))
    #expect(try await witness.end(of: first.invocation) != "")
    let error = try await launchError { try await launcher.start(.example(executable: script.path), port: 11500) }
    #expect(error.code == .unavailable)
  }

  @Test func `a guard that can't be started, or says nothing, is no instance`() async throws {
    let missing = ChildLauncher(guardCommand: ["/nonexistent/ollama-pool"], output: .text(descriptor: -1))
    #expect(
      try await launchError { try await missing.start(.example(), port: 11500) }.message.contains("/nonexistent/"))
    let silent = ChildLauncher(guardCommand: ["/bin/true"], output: .text(descriptor: -1))
    let error = try await launchError { try await silent.start(.example(), port: 11500) }
    #expect(error.code == .ended && error.message.contains("exit status 0"))
  }

  @Test func `another user can't be had`() async throws {
    let error = try await launchError {
      try await Self.launcher().start(.example { $0.instanceUser = "daemon" }, port: 11500)
    }
    #expect(error.code == .unusableUser)
    #expect(error.message.contains("instance_user"))
  }

  @Test func `its output comes with its name, and a reader that sleeps holds it up never`() async throws {
    var ends: [Int32] = [-1, -1]
    // Never closed: what still waits to be written would go to whatever has the number next.
    try #require(pipe(&ends) == 0)
    let launcher = Self.launcher(output: .text(descriptor: ends[1]))
    let witness = await Witness(launcher)
    // Three times what all buffers on the way hold together.
    let script = try await Script(
      "echo hello; echo line-two >&2; head -c 15000000 /dev/zero | tr '\\0' 'y' | fold -w 99; exit 4")
    let unit = try await launcher.start(.example("gpu5", executable: script.path), port: 11500)
    #expect(try await witness.end(of: unit.invocation, within: .seconds(40)) == "exit status 4")
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = read(ends[0], &buffer, buffer.count)
    let lines = String(decoding: buffer.prefix(count), as: UTF8.self).split(separator: "\n")
    #expect(lines[0].hasSuffix("ollama-gpu5: hello"))
    #expect(lines[1].hasSuffix("ollama-gpu5: line-two"))
    await launcher.close()
  }

  @Test(.enabled(if: access(BuiltProduct.path("ollama-simulator"), X_OK) == 0, "needs ollama-simulator: swift build"))
  func `the simulator serves, and its runner goes with it`() async throws {
    let launcher = Self.launcher()
    let witness = await Witness(launcher)
    let store = try TemporaryDirectory()
    let port = try freePort()
    let specification = InstanceSpecification.example(executable: BuiltProduct.path("ollama-simulator")) {
      $0.modelsPath = store.path
      $0.environment = ["OLLAMA_SIMULATOR_DISCOVERY_SECONDS": "0", "OLLAMA_SIMULATOR_LOAD_SECONDS": "0"]
    }
    for number in [SIGKILL, 0] {
      let unit = try await launcher.start(specification, port: UInt16(port))
      try await eventually("it answers") {
        try await HTTPProbe.exchange("GET", "/api/version", port: port).status == 200
      }
      let load = try await HTTPProbe.exchange(
        "POST", "/api/generate", port: port, body: #"{"model":"llama3.2","keep_alive":-1}"#)
      #expect(load.status == 200)
      let runners = ProcessTree.descendants(of: unit.mainPID)
      #expect(runners.count == 1)
      if number == 0 { await launcher.stop("gpu0", unit.invocation, kill: false) } else { kill(unit.mainPID, number) }
      #expect(try await witness.end(of: unit.invocation) == (number == 0 ? "exit status 0" : "killed by SIGKILL"))
      #expect(!runners.contains(where: isAlive))
    }
    await launcher.close()
  }
}
