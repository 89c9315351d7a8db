import Foundation
import Glibc
import TestSupport
import Testing

/// The chat page in a real browser, headless Chromium: `browser.py` says what its users do and see.
///
/// The pictures that it takes are left in `$OLLAMA_POOL_SCREENSHOTS`, where that names a folder.
@Suite(
  .serialized,
  .enabled("needs the package chromium-driver and the Python package selenium: see PythonEnvironment") {
    await PythonEnvironment.isReady(for: "selenium")
      && FileManager.default.isExecutableFile(atPath: "/usr/bin/chromedriver")
  }) struct BrowserTests
{
  /// One at a time, each for some seconds.
  private static let slow = Pool.Setup(
    settings: "chat:\n  default_model: llama3.2", simulator: ["TOKENS": "150", "TOKENS_PER_SECOND": "25"])

  @Test("two users at once: places, answers as they grow, stopping, asking again, each his own history")
  func twoUsers() async throws { try await withPool(Self.slow) { try await browse("two-users", $0) } }

  @Test("the server is killed and started again: the page reconnects, and no question is lost")
  func restart() async throws {
    try await withPool(Self.slow) { pool in
      let script = try start("restart", pool)
      for count in 1...4 {
        try await eventually(within: .seconds(120), "the script says what comes next, or ends: \(script.errorOutput)") {
          script.outputLines.count >= count || script.end != nil
        }
        guard script.end == nil else { break }
        if script.outputLines[count - 1] == "stop" {
          pool.program.killTree()
          try await pool.expectNothingLeft()
        } else {
          try pool.startAgain()
        }
        script.write("done\n")
      }
      try await end(script)
    }
  }

  @Test("a page that is closed and opened again goes on with the question under way")
  func reattaching() async throws { try await withPool(Self.slow) { try await browse("reattach", $0) } }

  @Test("the beginning of an answer is lost on the way: its question is asked once, and the page sees all of it")
  func lost() async throws { try await withPool(Self.slow) { try await browse("lost", $0) } }

  @Test("the server is away for long, and the page is there before the server: what was written is not lost")
  func away() async throws { try await withPool(Self.slow) { try await browse("away", $0) } }

  @Test("users sign in and out in one browser: nobody finds or asks what another one wrote")
  func signIn() async throws { try await withKeys(anonymous: "allow") { try await browse("sign-in", $0, keys: $1) } }

  @Test("where nobody anonymous may ask the page wants a key, also when a session ends, and keeps what was not asked")
  func closed() async throws { try await withKeys(anonymous: "refuse") { try await browse("closed", $0, keys: $1) } }

  @Test("what is too long, and what is too much, is refused in words")
  func refusing() async throws {
    let settings = "chat:\n  default_model: llama3.2\nclasses: {standard: {requests_per_hour: 1}}"
    try await withPool(Pool.Setup(settings: settings)) { try await browse("refused", $0) }
  }

  @Test("Italian and English, light and dark, by keyboard, for screen readers, on 320 pixels, by a strict policy")
  func look() async throws {
    try await withPool(Pool.Setup(settings: "chat:\n  default_model: llama3.2")) { try await browse("look", $0) }
  }

  @Test("Markdown is shown as it should be, however it comes, and nothing in it becomes HTML")
  func rendering() async throws { try await withPool { try await browse("rendering", $0) } }

  @Test("sources are shown with how well they fit, as text whatever is in them, and kept with the answer")
  func sources() async throws {
    let documents = try TemporaryDirectory()
    let text = "# TK3+ 130bar\n\nLa guarnizione della TK3+ è in <img src=x onerror=alert(1)> NBR, a 130 bar.\n"
    try documents.write(text, to: "tk3.md")
    let settings = "chat:\n  default_model: llama3.2\nsources:\n  index: \(documents.path)/documents.sqlite\n"
    try await withPool(Pool.Setup(settings: settings)) { pool in
      let index = try await run(
        BuiltProduct.path("ollama-pool"), ["index", "--config", pool.configuration, documents.path])
      #expect(index.end == .exited(0), "\(index.errorOutput)")
      try await browse("sources", pool)
    }
  }

  @Test("the client file serves a page of another origin")
  func elsewhere() async throws {
    try await withKeys(anonymous: "allow") { try await browse("elsewhere", $0, keys: $1) }
  }

  @Test("where no instance runs the page is there at once, and the models come with the first one")
  func asleep() async throws {
    let pool = try Pool(Pool.Setup(settings: "scaling: {min: 0}"))
    defer { pool.kill() }
    try await pool.status(until: "it is there, and no instance runs") { $0.health == "asleep" }
    try await browse("asleep", pool)
    try await pool.stop()
  }

  /// A slow pool, and the keys of two of its users.
  private func withKeys(anonymous: String, _ body: (Pool, [String]) async throws -> Void) async throws {
    var setup = Self.slow
    setup.settings += "\naccess: {anonymous: \(anonymous)}"
    try await withPool(setup) { pool in
      var keys: [String] = []
      for user in ["ann", "bob"] {
        let made = try await pool.command("keys", "add", user)
        #expect(made.end == .exited(0))
        keys.append(String(made.output.dropLast()))
      }
      try await body(pool, keys)
    }
  }

  private func start(_ scenario: String, _ pool: Pool, keys: [String] = []) throws -> RunningProgram {
    let script = PackageRoot.path(to: "Tests/EndToEndTests/browser.py")
    let pictures = ProcessInfo.processInfo.environment["OLLAMA_POOL_SCREENSHOTS"] ?? pool.folder.path
    return try RunningProgram(
      PythonEnvironment.interpreter, ["-B", script, scenario, "http://127.0.0.1:\(pool.port)", pictures] + keys)
  }

  private func browse(_ scenario: String, _ pool: Pool, keys: [String] = []) async throws {
    try await end(try start(scenario, pool, keys: keys))
    // A question that its page has left without stopping it is answered to its end.
    try await pool.expectIdle(within: .seconds(30))
  }

  private func end(_ script: RunningProgram) async throws {
    let end = try await script.wait(within: .seconds(240))
    #expect(end == .exited(0), "\(script.errorOutput)")
  }
}
