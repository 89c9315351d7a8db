import Foundation
import Glibc
import TestSupport
import Testing

/// The control sockets, spoken to with the `varlink` package from PyPI.
@Suite(
  .serialized,
  .enabled("needs the Python package varlink: see PythonEnvironment") {
    await PythonEnvironment.isReady(for: "varlink")
  })
struct ControlSocketTests {
  private static let script = PackageRoot.path(to: "Tests/EndToEndTests/control_socket.py")

  /// What the script prints, line by line.
  private func script(_ arguments: String..., asUser user: uid_t? = nil) async throws -> [String] {
    let result = try await run(
      PythonEnvironment.interpreter, [Self.script] + arguments, environment: ["AS_USER": user.map { "\($0)" }])
    #expect(result.end == .exited(0), "\(result.errorOutput)")
    return result.output.split(separator: "\n").map(String.init)
  }

  private func background(_ arguments: String...) throws -> RunningProgram {
    try RunningProgram(PythonEnvironment.interpreter, [Self.script] + arguments)
  }

  @Test("Both interfaces can be introspected, and their methods called")
  func introspection() async throws {
    try await withPool(Pool.Setup(gpus: 2)) { pool in
      let dispatcher = try await script("introspect", pool.dispatcherSocket)
      #expect(
        dispatcher.contains {
          $0.hasPrefix("ollamapool.Dispatcher ") && $0.contains(" GetStatus ") && $0.contains(" WatchQueue")
        }, "\(dispatcher)")
      let supervisor = try await script("introspect", pool.supervisorSocket)
      #expect(
        supervisor.contains {
          $0.hasPrefix("ollamapool.Supervisor ") && $0.contains(" GetStatus ") && $0.contains(" SetScale ")
        }, "\(supervisor)")
      for lines in [dispatcher, supervisor] {
        #expect(
          lines.first?.hasPrefix("ollama-pool ") == true && lines.contains { $0.hasPrefix("org.varlink.service ") })
      }

      let status = try await call("ollamapool.Dispatcher.GetStatus", on: pool.dispatcherSocket)
      #expect(status["endpoints"] as? [String] == ["http://127.0.0.1:\(pool.port)"])
      let queue = try #require(status["queue"] as? [String: Any])
      #expect(queue["depth"] as? Int == 0 && queue["maxConcurrent"] as? Int == 1)
      let supervised = try await call("ollamapool.Supervisor.GetStatus", on: pool.supervisorSocket)
      let state = try #require(supervised["status"] as? [String: Any])
      #expect(state["desired"] as? Int == 1 && state["dispatcherConnected"] as? Bool == true)
      #expect((state["gpus"] as? [Any])?.count == 2)

      let unknown = try await script(
        "call", pool.supervisorSocket, "ollamapool.Supervisor.DrainInstance", #"{"id":"gpu9"}"#)
      #expect(unknown == [#"ollamapool.Supervisor.NoSuchInstance {"id": "gpu9"}"#])
      // The user of the pool may change it.
      #expect(
        try await script("call", pool.supervisorSocket, "ollamapool.Supervisor.SetScale", #"{"min":2}"#) == ["{}"])
      try await pool.isReady(for: 2)
    }
  }

  private func call(_ method: String, on socket: String) async throws -> [String: Any] {
    let lines = try await script("call", socket, method)
    return JSONLine.object(lines.first ?? "")
  }

  @Test("WatchQueue tells of a load while it runs; a repeated state is told only every five seconds")
  func watchQueue() async throws {
    try await withPool { pool in
      let watcher = try background("watch", pool.dispatcherSocket, "ollamapool.Dispatcher.WatchQueue")
      func queues() -> [[String: Any]] {
        watcher.outputLines.compactMap { JSONLine.object($0)["queue"] as? [String: Any] }
      }
      try await eventually("the first state comes at once") { !queues().isEmpty }
      #expect(queues()[0]["depth"] as? Int == 0 && queues()[0]["inFlight"] as? Int == 0)

      let probes = try await [1, 2, 3].asyncMap { _ in try await pool.openStream(tokens: 100_000) }
      try await eventually("one in flight and two waiting are told") {
        queues().contains { $0["inFlight"] as? Int == 1 && $0["depth"] as? Int == 2 }
      }
      let loaded = try #require(queues().last)
      #expect(((loaded["models"] as? [[String: Any]])?.first)?["model"] as? String == "llama3.2:latest")
      #expect((loaded["oldestWaitSeconds"] as? Double ?? -1) >= 0)
      for probe in probes { await probe.close() }
      try await eventually("all have gone") {
        queues().last?["inFlight"] as? Int == 0 && queues().last?["depth"] as? Int == 0
      }
      let last = try #require(queues().last)
      #expect(last["arrivals"] as? Int == 3)
      #expect(Set(queues().compactMap { $0["epoch"] as? String }).count == 1)

      let told = queues().count
      try await eventually("a state is told although nothing changes") { queues().count > told }
      watcher.closeInput()
      try await watcher.wait()
    }
  }

  @Test(
    "An outside queue that a front end reports makes the pool grow, WatchCapacity follows, and its going shrinks it")
  func outsideQueue() async throws {
    var setup = Pool.Setup(gpus: 3)
    setup.settings = """
      scaling:
        window: 1s
        shrink: 100%
        idle_hold: 300ms
      """
    try await withPool(setup) { pool in
      let watcher = try background("watch", pool.dispatcherSocket, "ollamapool.Dispatcher.WatchCapacity")
      func capacities() -> [Int] { watcher.outputLines.compactMap { JSONLine.object($0)["maxConcurrent"] as? Int } }
      try await eventually("the capacity is told at once") { capacities() == [1] }
      #expect(
        JSONLine.object(watcher.outputLines[0])["endpoints"] as? [String] == ["http://127.0.0.1:\(pool.port)"])

      let frontEnd = try background("report", pool.dispatcherSocket, "flask")
      #expect(frontEnd.write("7\n"))
      try await frontEnd.line(containing: "reported 7")
      try await pool.isReady(for: 3)
      try await eventually("the capacity of three is told") { capacities().last == 3 }
      #expect(try await pool.status.queueDepth == 0)
      let status = try await pool.command("status")
      #expect(status.output.contains("7 more in front ends"), "\(status.output)")

      // It counts for as long as its connection lives.
      frontEnd.killTree()
      try await eventually(within: .seconds(20), "the capacity of one is told") { capacities().last == 1 }
      #expect(capacities().first == 1)
      watcher.closeInput()
      try await watcher.wait()
    }
  }

  @Test("A malformed message closes its own connection, and no other")
  func malformed() async throws {
    try await withPool { pool in
      for (socket, interface) in [
        (pool.dispatcherSocket, "ollamapool.Dispatcher"), (pool.supervisorSocket, "ollamapool.Supervisor"),
      ] {
        let lines = try await script("malformed", socket, interface)
        #expect(lines.count == 9, "\(interface): \(lines)")
      }
      #expect(try await pool.status.maxConcurrent == 1)
    }
  }

  @Test(
    "Whoever has not the right may look, and gets PermissionDenied for a change",
    .enabled(if: geteuid() == 0, "needs root, to become another user"))
  func rights() async throws {
    try await withPool { pool in
      // An operator has let everyone connect.
      for path in [pool.folder.path, pool.sockets] { chmod(path, 0o755) }
      for path in [pool.dispatcherSocket, pool.supervisorSocket] { chmod(path, 0o666) }
      let nobody: uid_t = 65_534
      func ask(_ method: String, _ parameters: String = "{}") async throws -> String {
        let socket = method.hasPrefix("ollamapool.Dispatcher") ? pool.dispatcherSocket : pool.supervisorSocket
        return try await script("call", socket, method, parameters, asUser: nobody).first ?? ""
      }
      for (method, parameters) in [
        ("ollamapool.Dispatcher.SetInstances", #"{"instances":[]}"#),
        ("ollamapool.Dispatcher.RetireInstance", #"{"id":"gpu0","invocation":"0"}"#),
        ("ollamapool.Dispatcher.CancelRequest", #"{"id":1}"#), ("ollamapool.Supervisor.SetScale", #"{"fixed":0}"#),
        ("ollamapool.Supervisor.CordonGPU", #"{"gpu":"gpu0","reason":"x"}"#),
        ("ollamapool.Supervisor.UncordonGPU", #"{"gpu":"gpu0"}"#),
        ("ollamapool.Supervisor.DrainInstance", #"{"id":"gpu0"}"#),
        ("ollamapool.Supervisor.RestartInstance", #"{"id":"gpu0"}"#), ("ollamapool.Supervisor.Reload", "{}"),
      ] {
        let answer = try await ask(method, parameters)
        #expect(answer.hasPrefix("org.varlink.service.PermissionDenied "), "\(method): \(answer)")
      }
      #expect(try await ask("ollamapool.Dispatcher.GetStatus").contains(#""maxConcurrent": 1"#))
      #expect(try await ask("ollamapool.Supervisor.Explain").hasPrefix(#"{"decisions""#))
      #expect(
        try await ask("ollamapool.Dispatcher.ReportQueueDepth", #"{"frontEnd":"theirs","depth":1}"#) == "{}")
      try await pool.status(until: "the instance is still ready") { $0.instances.first?.state == "ready" }
    }
  }
}

extension Pool {
  var dispatcherSocket: String { sockets + "/dispatcher.sock" }
  var supervisorSocket: String { sockets + "/supervisor.sock" }
}

enum JSONLine {
  static func object(_ text: some StringProtocol) -> [String: Any] {
    (try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]) ?? [:]
  }
}

extension Sequence {
  func asyncMap<Value>(_ transform: (Element) async throws -> Value) async rethrows -> [Value] {
    var values: [Value] = []
    for element in self { values.append(try await transform(element)) }
    return values
  }
}
