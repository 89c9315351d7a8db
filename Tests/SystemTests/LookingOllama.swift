import TestSupport

/// Ollama, which says first which device nodes it may open.
enum LookingOllama {
  static let path = "/opt/looking-ollama"
  private static let script = """
    #!/bin/sh
    for node in nvidia0 nvidia1 nvidia2 nvidia3 nvidiactl kfd dri/renderD128 dri/renderD129; do
      if (: < /dev/$node) 2>/dev/null; then echo "may open $node"; fi
    done
    exec /usr/bin/ollama-simulator "$@"
    """

  static func install() async throws {
    let folder = try TemporaryDirectory()
    // By another process: what this one has open for writing can't be executed.
    _ = try await run("install", ["-m", "755", try folder.write(script, to: "ollama"), path])
  }

  /// The nodes that an instance said it may open.
  static func mayOpen(_ pool: InstalledPool, _ id: String) async throws -> [String] {
    let words = "may open "
    return try await pool.entries(about: id).map(\.message).filter { $0.hasPrefix(words) }
      .map { String($0.dropFirst(words.count)) }
  }
}
