import Foundation
import Glibc
import TestSupport
import Testing

/// The pool that runs by the command line's own means: `serve`, and the daemons apart, with the simulator.
@Suite(.serialized) struct DaemonTests {
  /// Everything in one folder, which an ordinary user may write to.
  private struct Place {
    let folder: TemporaryDirectory
    let port: Int
    let program: String
    let configuration: String

    init() async throws {
      folder = try TemporaryDirectory()
      program = try await BuiltProduct.copy("ollama-pool", to: folder)
      let simulator = try await BuiltProduct.copy("ollama-simulator", to: folder)
      port = try freePort()
      configuration = try folder.write(
        """
        listen: [\(port)]
        metrics_listen: \(try freePort())
        instance_ports: \(12_000 + Int(getpid()) % 80 * 100)
        launcher: child
        ollama: \(simulator)
        models_path: \(folder.path(to: "models"))
        gpus: cpu
        environment: {OLLAMA_SIMULATOR_LOAD_SECONDS: "0.05", OLLAMA_SIMULATOR_TOKENS: "3"}

        """, to: "pool.yaml")
      for name in ["run", "state", "home", "models"] {
        try FileManager.default.createDirectory(atPath: folder.path(to: name), withIntermediateDirectories: false)
      }
    }

    var variables: [String: String?] {
      CommandLine.isolation.merging([
        "HOME": folder.path(to: "home"), "XDG_RUNTIME_DIR": folder.path(to: "run"),
        "XDG_STATE_HOME": folder.path(to: "state"),
      ]) { $1 }
    }

    /// A command line of nobody's, if this is root's process, who has places of its own.
    func asUser(_ arguments: [String]) -> [String] {
      let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
      return (geteuid() == 0 ? nobody : ["env"]) + [program] + arguments
    }

    func generate() async throws -> HTTPProbe.Answer {
      try await HTTPProbe.exchange(
        "POST", "/api/generate", port: port, body: #"{"model":"llama3.2","prompt":"Why?","stream":false}"#)
    }

    /// The processes whose environment names this folder.
    var processes: [String] {
      let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
      return entries.filter { Int32($0) != nil && Int32($0) != getpid() }.filter { entry in
        let environment = try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(entry)/environ"))
        return environment?.range(of: Data(folder.path.utf8)) != nil
      }
    }
  }

  @Test func `serve needs no option of an ordinary user: its places are the session's, and every command finds it`()
    async throws
  {
    let place = try await Place()
    for path in [place.folder.path] + ["run", "state", "home", "models", "pool.yaml"].map(place.folder.path(to:)) {
      if geteuid() == 0 { chown(path, 65_534, 65_534) }
    }
    let command = place.asUser(["serve", "--config", place.configuration])
    let pool = try RunningProgram(command[0], Array(command.dropFirst()), environment: place.variables)
    try await pool.line(containing: "Ctrl-C stops the pool")
    #expect(pool.output.contains("serves at http://127.0.0.1:\(place.port)\n"))
    #expect(pool.output.contains("\(place.program) status\n"))
    #expect(pool.output.contains("Instances are child processes (as configured).\n"))

    let status = place.asUser(["status", "--json"])
    try await eventually("the instance is ready") {
      let result = try await run(status[0], Array(status.dropFirst()), environment: place.variables)
      let json = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
      return json?["maxConcurrent"] as? Int == 1 && result.end == .exited(0)
    }
    #expect(try await place.generate().text.contains(#""done":true"#))
    let scale = place.asUser(["scale", "--min", "0"])
    let scaled = try await run(scale[0], Array(scale.dropFirst()), environment: place.variables)
    #expect(scaled.end == .exited(0), "one's own pool is one's own to change: \(scaled.errorOutput)")
    try await eventually("the order is kept in the state folder") {
      FileManager.default.fileExists(atPath: place.folder.path(to: "state/ollama-pool/orders.json"))
    }

    pool.signal(SIGINT)
    #expect(try await pool.wait() == .exited(0))
    try await eventually("no process is left") { place.processes.isEmpty }
    #expect(try FileManager.default.contentsOfDirectory(atPath: place.folder.path(to: "run/ollama-pool")).isEmpty)
  }

  @Test func `two pools do not share a state folder, and one that was killed keeps it from nobody`() async throws {
    let place = try await Place()
    let state = place.folder.path(to: "state")
    func serve() throws -> RunningProgram {
      try RunningProgram(
        place.program,
        ["serve", "--config", place.configuration, "--socket", place.folder.path(to: "run"), "--state", state],
        environment: place.variables)
    }
    let first = try serve()
    try await first.line(containing: "Ctrl-C stops the pool")
    let second = try serve()
    #expect(try await second.wait() == .exited(1))
    #expect(
      second.errorOutput.contains(
        "ollama-pool: the state folder \(state) is in use by another pool (process \(first.processID)): stop that one"),
      "\(second.errorOutput)")
    first.signal(SIGKILL)
    _ = try await first.wait()
    let third = try serve()
    try await third.line(containing: "Ctrl-C stops the pool")
    third.signal(SIGINT)
    #expect(try await third.wait() == .exited(0))
    try await eventually("no process is left") { place.processes.isEmpty }
  }

  @Test func `the daemons run apart, and either is missed and found again`() async throws {
    let place = try await Place()
    let sockets = place.folder.path(to: "run")
    let common = ["--config", place.configuration, "--socket", sockets]
    func start(_ arguments: [String]) throws -> RunningProgram {
      try RunningProgram(CommandLine.program, arguments + common, environment: place.variables)
    }
    func status() async throws -> CommandLine.Result {
      try await CommandLine.run(["status", "--json"], socket: sockets)
    }
    let dispatcher = try start(["dispatcher", "--state", place.folder.path(to: "dispatcher")])
    try await eventually("the dispatcher answers") {
      let result = try await status()
      return result.json["maxConcurrent"] as? Int == 0 && result.complaint.contains("supervisor is not running")
    }
    let supervisor = try start(["supervisor", "--state", place.folder.path(to: "state")])
    try await eventually("an instance is ready") { try await status().json["maxConcurrent"] as? Int == 1 }
    #expect(try await place.generate().status == 200)

    // A bad file on reload changes nothing, and is reported.
    let good = try String(contentsOfFile: place.configuration, encoding: .utf8)
    try place.folder.write(good + "slots: many\n", to: "pool.yaml")
    for daemon in [dispatcher, supervisor] {
      daemon.signal(SIGHUP)
      try await daemon.line(containing: "configuration not reloaded")
    }
    try place.folder.write(good, to: "pool.yaml")
    for daemon in [dispatcher, supervisor] {
      daemon.signal(SIGHUP)
      try await eventually("it reloads") {
        daemon.errorOutput.contains("configuration is in force")
          || daemon.errorOutput.contains("configuration reloaded")
      }
    }
    #expect(try await place.generate().status == 200)

    supervisor.signal(SIGTERM)
    #expect(try await supervisor.wait() == .exited(0))
    let half = try await status()
    #expect(half.end == .exited(1) && half.json["queueDepth"] as? Int == 0)
    dispatcher.signal(SIGTERM)
    #expect(try await dispatcher.wait() == .exited(0))
    try await eventually("no process is left") { place.processes.isEmpty }
  }

  @Test func `a daemon with a wrong configuration ends with status 78, which systemd does not try again`() async throws
  {
    let folder = try TemporaryDirectory()
    let file = try folder.write("listen: [0.0.0.0:1]\n", to: "pool.yaml")
    for daemon in ["serve", "dispatcher", "supervisor"] {
      let result = try await CommandLine.run([daemon, "--config", file, "--socket", folder.path])
      #expect(result.end == .exited(78))
      #expect(result.complaint.hasPrefix("\(file):1:10: listen[0]: "))
    }
  }

  @Test func `serve says which folder it can't use`() async throws {
    let place = try await Place()
    for (option, other) in [("--socket", "--state"), ("--state", "--socket")] {
      let result = try await CommandLine.run([
        "serve", "--config", place.configuration, option, "/proc/nowhere", other, place.folder.path,
      ])
      #expect(result.end == .exited(1))
      #expect(result.complaint.contains("the folder /proc/nowhere can't be made"))
    }
  }
}
