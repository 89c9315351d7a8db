import Foundation
import TestSupport
import Testing

/// `docs/openapi.yaml` and a real pool say the same.
@Suite(
  .serialized,
  .enabled("needs the Python package schemathesis: see PythonEnvironment") {
    await PythonEnvironment.isReady(for: "schemathesis")
  }) struct OpenAPITests
{
  private static let document = PackageRoot.path(to: "docs/openapi.yaml")
  /// A caller whom nobody knows may not come in.
  private static let closed = "access:\n  trusted_proxies: [127.0.0.1]\n"

  @Test("schemathesis finds nothing where everybody is administrator")
  func open() async throws {
    try await withPool(Self.setup()) { pool in try await Self.examine(pool) }
  }

  @Test("schemathesis finds nothing as a user with a key")
  func asUser() async throws {
    try await withPool(Self.setup()) { pool in
      let made = try await pool.command("keys", "add", "ada", "--requests-per-hour", "1000")
      let key = made.output.trimmingCharacters(in: .whitespacesAndNewlines)
      #expect(key.hasPrefix("sk-pool-"), "\(made)")
      try await Self.examine(pool, headers: ["Authorization: Bearer \(key)"])
    }
  }

  @Test("schemathesis finds nothing as somebody who may not come in")
  func asStranger() async throws {
    try await withPool(Self.setup(Self.closed)) { pool in
      try await Self.examine(pool, phases: "coverage,fuzzing")
      #expect(try await pool.get("/queue").status == 401)
    }
  }

  @Test("Events of streams and of the WebSocket are as it describes them")
  func events() async throws {
    var setup = Self.setup()
    setup.simulator = ["TOKENS": "20", "TOKENS_PER_SECOND": "20"]
    try await withPool(setup) { pool in
      let result = try await run(
        PythonEnvironment.interpreter,
        ["-B", PackageRoot.path(to: "Tests/EndToEndTests/openapi.py"), Self.document, "http://127.0.0.1:\(pool.port)"],
        within: .seconds(60))
      #expect(result.end == .exited(0), "\(result.errorOutput)")
    }
  }

  @Test("The pool gives it to anybody")
  func served() async throws {
    try await withPool(Self.setup(Self.closed)) { pool in
      let answer = try await pool.get("/openapi.yaml")
      #expect(answer.status == 200 && answer.head["Content-Type"] == "application/yaml")
      #expect(answer.text == (try String(contentsOfFile: Self.document, encoding: .utf8)))
    }
  }

  private static func setup(_ access: String = "") -> Pool.Setup {
    Pool.Setup(
      settings: "\(access)chat:\n  default_model: llama3.2", simulator: ["TOKENS": "3", "TOKENS_PER_SECOND": "1000"])
  }

  private static func examine(
    _ pool: Pool, headers: [String] = [], phases: String = "examples,coverage,fuzzing,stateful"
  ) async throws {
    let result = try await run(
      PythonEnvironment.interpreter,
      [
        "-B", "-m", "schemathesis.cli", "--config-file", PackageRoot.path(to: "Tests/EndToEndTests/schemathesis.toml"),
        "run", document, "--url", "http://127.0.0.1:\(pool.port)", "--phases", phases, "--no-color",
      ] + headers.flatMap { ["--header", $0] },
      environment: ["HOME": pool.folder.path], workingDirectory: pool.folder.path, within: .seconds(120))
    #expect(result.end == .exited(0), "\(result.output)\(result.errorOutput)")
    try await pool.expectIdle()
  }
}
