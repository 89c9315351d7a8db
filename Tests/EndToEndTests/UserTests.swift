import Glibc
import TestSupport
import Testing

/// Users of a real pool, with keys that the command line made.
@Suite(.serialized) struct UserTests {
  /// The requests that the database says were made within the hour. It is read as a copy: the pool holds it.
  private static let storedRequests = """
    import os, shutil, sqlite3, sys, tempfile
    with tempfile.TemporaryDirectory() as folder:
        for name in ("pool.sqlite", "pool.sqlite-wal"):
            if os.path.exists(sys.argv[1] + "/" + name):
                shutil.copy(sys.argv[1] + "/" + name, folder)
        database = sqlite3.connect(folder + "/pool.sqlite")
        print(database.execute("SELECT coalesce(sum(requests), 0) FROM usage").fetchone()[0])
    """

  private func key(_ pool: Pool, _ arguments: String...) async throws -> [(String, String)] {
    let made = try await run(
      BuiltProduct.path("ollama-pool"), ["keys", "add"] + arguments + ["--socket", pool.sockets])
    #expect(made.end == .exited(0) && made.output.split(separator: "\n").count == 1)
    return [("Authorization", "Bearer \(made.output.dropLast())")]
  }

  @Test("Keys and what was used by them outlive kill -9, what was used within the last second aside")
  func killed() async throws {
    let pool = try Pool()
    defer { pool.kill() }
    try await pool.isReady()
    let shop = try await key(pool, "shop", "--requests-per-hour", "2")
    #expect(try await pool.post("/api/generate", Pool.generation(tokens: 4)).status == 401)
    for remaining in [1, 0] {
      let answer = try await pool.post("/api/generate", Pool.generation(tokens: 4), headers: shop)
      #expect(answer.status == 200)
      #expect(answer.head["RateLimit-Remaining"] == "\(remaining)")
    }
    try await eventually(within: .seconds(5), "both are written down") {
      let stored = try await run("python3", ["-c", Self.storedRequests, pool.folder.path(to: "state")])
      return stored.output == "2\n"
    }

    pool.program.signal(SIGKILL)
    _ = try await pool.program.wait()
    try await pool.expectNothingLeft()
    let restarted = try pool.startAgain()
    try await pool.isReady()
    let refused = try await pool.post("/api/generate", Pool.generation(tokens: 4), headers: shop)
    #expect(refused.status == 429)
    #expect(refused.head["RateLimit-Remaining"] == "0")
    #expect(try await pool.get("/api/tags", headers: shop).status == 200)
    #expect(try await pool.get("/api/tags").status == 401)
    restarted.signal(SIGINT)
    #expect(try await restarted.wait(within: .seconds(20)) == .exited(0))
  }

  @Test("A user asks, an administrator pulls and deletes, and a revoked key does neither")
  func roles() async throws {
    try await withPool { pool in
      try await pool.isReady()
      let user = try await key(pool, "shop")
      let administrator = try await key(pool, "ann", "--administrator")
      let model = #"{"model":"qwen3:0.6b"}"#
      #expect(try await pool.post("/api/pull", model, headers: user).status == 403)
      let pulled = try await pool.post("/api/pull", model, headers: administrator)
      #expect(pulled.text.contains("success"))
      #expect(try await pool.post("/api/generate", Pool.generation(tokens: 4), headers: user).status == 200)
      let revoked = try await pool.command("keys", "revoke", "shop")
      #expect(revoked.output == "The API key shop is revoked.\n")
      #expect(try await pool.post("/api/generate", Pool.generation(tokens: 4), headers: user).status == 401)
    }
  }
}
