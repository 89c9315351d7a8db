import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Models are read into memory before instances load them, by a unit that may do nothing else.
  @Suite(.serialized) struct ReadAheadTests {
    private static let store = "/var/lib/store-to-read"
    private static let size = 64 << 20

    @Test func aModelIsReadAsTheInstancesUserWhileTheInstanceStarts() async throws {
      try await InstalledPool().installOnce()
      try await fill()
      try await InstalledPool.running("models_path: \(Self.store)\npreload: [llama3.2]") { pool in
        _ = try await pool.ready(1)
        let entry = try await eventualValue("it is told") {
          try await pool.story().first { $0.message.hasPrefix("llama3.2:latest is read ahead: ") }
        }
        // All of it was on the disk alone, where this file system forgets at all.
        #expect(entry.message.contains("of 64 MiB in "))
        let ready = try await eventualValue("it is ready") {
          try await pool.story().first { $0.message.hasPrefix("gpu0 ready after ") }
        }
        #expect(ready.message.contains(": unit ") && ready.message.contains(", llama3.2:latest "), "\(ready)")
        try await eventually("the reader has ended") {
          try await pool.activeUnits("ollama-readahead-*.service").isEmpty
        }
        let status = try await pool.pool("status")
        #expect(status.output.contains("Starts    gpu0 in "), "\(status.output)")
        #expect(status.output.contains("Read      llama3.2:latest ahead, "), "\(status.output)")
        #expect(try await !pool.story().contains { $0.message.contains("not read ahead") })
      }
    }

    /// A model as Ollama has it, which only the instances' user may read, and no page of it in memory.
    private func fill() async throws {
      let digest = String(repeating: "a", count: 64)
      let (blobs, manifests) = (Self.store + "/blobs", Self.store + "/manifests/registry.ollama.ai/library/llama3.2")
      for folder in [blobs, manifests] {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      }
      let blob = blobs + "/sha256-\(digest)"
      try Data(repeating: 7, count: Self.size).write(to: URL(filePath: blob))
      let layer = #"{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:\#(digest)","size":1}"#
      try #"{"schemaVersion":2,"layers":[\#(layer)]}"#
        .write(toFile: manifests + "/latest", atomically: false, encoding: .utf8)
      _ = try await run("chown", ["-R", "ollama-pool-instance:", Self.store])
      _ = try await run("chmod", ["-R", "u=rwX,go=", Self.store])
      let descriptor = open(blob, O_RDONLY)
      defer { close(descriptor) }
      #expect(fsync(descriptor) == 0 && posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0)
    }
  }
}
