import Foundation
import Glibc
import TestSupport
import Testing

/// `ollama-pool serve` as someone meets it who tries it on a terminal.
@Suite(.serialized) struct ServeTests {
  @Test("It says where it listens and what to type next, and what it says to type works")
  func firstWords() async throws {
    try await withPool(Pool.Setup(gpus: 0)) { pool in
      let endpoint = "127.0.0.1:\(pool.port)"
      try await eventually("it says where it listens") { pool.program.output.contains("http://\(endpoint)") }
      let words = pool.program.output
      #expect(words.contains("ollama-simulator"), "it says that answers are made up: \(words)")
      #expect(!words.contains("ollama run"), "there is no `ollama` to type: \(words)")
      // Lines to be typed, as a shell runs them.
      let commands = pool.program.outputLines.map { $0.trimmingPrefix(while: \.isWhitespace) }
      let curl = try #require(commands.first { $0.hasPrefix("curl ") }.map(String.init), "\(words)")
      let answer = try await run("sh", ["-c", curl])
      #expect(answer.end == .exited(0) && answer.output.contains(#""done":true"#), "\(curl): \(answer)")
      let status = try #require(
        commands.first { $0.contains("ollama-pool status") || $0.contains("ollama-pool --") }.map(String.init),
        "\(words)")
      let folder = (BuiltProduct.path("ollama-pool") as NSString).deletingLastPathComponent
      let shown = try await run("sh", ["-c", "PATH=\(folder):$PATH; \(status)"])
      #expect(shown.end == .exited(0) && shown.output.contains("ready"), "\(status): \(shown)")
    }
  }

  @Test("A port that is taken is an error that names its holder and the remedy")
  func portTaken() async throws {
    let other = try HeldPort()
    var setup = Pool.Setup()
    setup.port = other.port
    let pool = try Pool(setup)
    defer { pool.kill() }
    let end = try await pool.program.wait()
    #expect(end == .exited(1))
    try await pool.program.waitForEndOfOutput()
    let words = pool.program.errorOutput
    #expect(words.contains("127.0.0.1:\(other.port)") && words.contains("\(getpid())"), "\(words)")
    #expect(words.contains("--next-free-port") || words.contains("listen"), "\(words)")
    try await pool.expectNothingLeft()
  }

  @Test("With --next-free-port it takes the next one and says so")
  func nextFreePort() async throws {
    let other = try HeldPort()
    var setup = Pool.Setup()
    setup.port = other.port
    setup.arguments = ["--next-free-port"]
    // Under this name it is taken for Ollama.
    let folder = try TemporaryDirectory()
    setup.ollama = folder.path(to: "ollama")
    try FileManager.default.copyItem(atPath: BuiltProduct.path("ollama-simulator"), toPath: setup.ollama)
    try await withPool(setup) { pool in
      let endpoint = try #require(try await pool.status.endpoints.first)
      let port = try #require(URL(string: endpoint)?.port)
      #expect(port > other.port && port <= other.port + 100)
      let words = pool.program.output + pool.program.errorOutput
      #expect(words.contains("127.0.0.1:\(other.port)") && words.contains("127.0.0.1:\(port)"), "\(words)")
      #expect(words.contains("OLLAMA_HOST=127.0.0.1:\(port) ollama run "), "\(words)")
      #expect(try await HTTPProbe.exchange("GET", "/api/version", port: port).status == 200)
    }
  }

  @Test("Ctrl-C lets a running stream end, refuses what waits, and leaves no process behind")
  func drains() async throws {
    try await withPool { pool in
      let stream = try await pool.openStream(tokens: 150)
      #expect(try await stream.head().status == 200)
      let waiting = try await pool.openStream(tokens: 8)
      try await pool.status(until: "one waits") { $0.queueDepth == 1 }
      pool.program.signal(SIGINT)
      #expect(try await waiting.answer().status == 503)
      let text = try await stream.restOfBody()
      #expect(text.split(separator: "\n").count == 151 && text.contains(#""done":true"#))
      #expect(try await pool.program.wait() == .exited(0))
      try await pool.expectNothingLeft()
      try await pool.program.waitForEndOfOutput()
      #expect(!pool.program.errorOutput.contains("instances stay in use"), "what is stopped is not said to stay")
    }
  }

  @Test("A drain_timeout that was reloaded holds")
  func reloadedDrainTimeout() async throws {
    let pool = try Pool(Pool.Setup(settings: "drain_timeout: 10m"))
    defer { pool.kill() }
    try await pool.isReady()
    let text = try String(contentsOfFile: pool.configuration, encoding: .utf8)
    try pool.folder.write(text.replacing("drain_timeout: 10m", with: "drain_timeout: 100ms"), to: "ollama-pool.yaml")
    pool.program.signal(SIGHUP)
    try await pool.program.line(containing: "configuration reloaded")
    let stream = try await pool.openStream(tokens: 100_000)
    #expect(try await stream.head().status == 200)
    pool.program.signal(SIGINT)
    #expect(try await pool.program.wait(within: .seconds(20)) == .exited(0))
    try await pool.expectNothingLeft()
  }

  @Test("A second Ctrl-C ends it at once, and leaves no process behind either")
  func secondInterrupt() async throws {
    let pool = try Pool()
    defer { pool.kill() }
    try await pool.isReady()
    let stream = try await pool.openStream(tokens: 100_000)
    #expect(try await stream.head().status == 200)
    pool.program.signal(SIGINT)
    // The drain has begun, and would take a minute.
    try await eventually("it says that it waits") { pool.program.errorOutput.contains("waiting for 1 request") }
    #expect(pool.program.end == nil)
    pool.program.signal(SIGINT)
    try await pool.program.wait(within: .seconds(5))
    try await pool.expectNothingLeft()
  }

  @Test("SIGTERM drains as Ctrl-C does")
  func terminates() async throws {
    let pool = try Pool()
    defer { pool.kill() }
    try await pool.isReady()
    pool.program.signal(SIGTERM)
    #expect(try await pool.program.wait() == .exited(0))
    try await pool.expectNothingLeft()
  }

  @Test("SIGKILL of the pool leaves no instance behind, and no runner of an instance")
  func killed() async throws {
    let pool = try Pool(Pool.Setup(gpus: 2))
    defer { pool.kill() }
    try await pool.isReady()
    let streams = try await [1, 2].asyncMap { _ in try await pool.openStream(tokens: 100_000) }
    try await pool.status(until: "both instances work") { $0.inFlight == 2 }
    try await eventually("both have loaded the model") {
      pool.processes.filter { $0.command.contains("ollama-simulator runner") }.count == 2
    }
    pool.program.signal(SIGKILL)
    #expect(try await pool.program.wait() == .killed(bySignal: SIGKILL))
    try await pool.expectNothingLeft()
    for stream in streams { await stream.close() }
  }

  @Test("A wrong configuration is refused with file, line and what was expected, and status 78")
  func wrongConfiguration() async throws {
    var setup = Pool.Setup()
    setup.settings = "slotz: 2"
    let pool = try Pool(setup)
    defer { pool.kill() }
    #expect(try await pool.program.wait() == .exited(78))
    try await pool.program.waitForEndOfOutput()
    let words = pool.program.errorOutput
    #expect(words.contains(pool.configuration + ":") && words.contains("slots"), "\(words)")
    #expect(pool.program.output.isEmpty)
  }
}

/// A port of 127.0.0.1 that this process listens on. The kernel chooses it, so that those behind it are given to no
/// other test.
private final class HeldPort {
  let port: Int
  private let descriptor: Int32

  init() throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let socket = descriptor
    let listens = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(socket, $0, length) == 0 && listen(socket, 1) == 0 && getsockname(socket, $0, &length) == 0
      }
    }
    guard listens else { throw SystemCallFailed("listening on a port") }
    port = Int(UInt16(bigEndian: address.sin_port))
  }

  deinit { close(descriptor) }
}
