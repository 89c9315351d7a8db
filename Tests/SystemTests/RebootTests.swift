import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// What a restart of the machine leaves. The machine goes on here: the whole pool stops and starts, and in between
  /// the file by which the kernel tells one boot from another has another text, as the supervisor sees it.
  @Suite(.serialized) struct RebootTests {
    private static let bootFile = "/etc/boot-id-for-tests"
    private static let dropIn = """
      [Service]
      BindReadOnlyPaths=\(bootFile):/proc/sys/kernel/random/boot_id

      """

    private func setBoot(_ id: String) throws {
      try (id + "\n").write(toFile: Self.bootFile, atomically: false, encoding: .utf8)
    }

    /// From the stop of everything to the start of everything.
    private func restart(_ pool: InstalledPool, _ meanwhile: () async throws -> Void = {}) async throws {
      try await pool.stop()
      try await meanwhile()
      try await systemctl("start", "ollama-pool.target")
    }

    @Test func faultsThatNeedAResetEndWithTheBootAndOrdersAndNumbersOutliveIt() async throws {
      try setBoot("11111111-1111-4111-8111-111111111111")
      try await withUnitFile(InstalledPool.supervisor + ".d/boot.conf", Self.dropIn) {
        try await SimulatedGPUs.running("", options: ["--count", "3"]) { pool, gpus in
          _ = try await pool.ready(1)
          #expect(
            try await pool.pool("cordon", "gpu2", "--for", "8h", "--reason", "training").end == .exited(0))
          #expect(try await pool.pool("scale", "--fixed", "2").end == .exited(0))
          _ = try await pool.ready(2)
          try await gpus.fault("gpu0 xid 79")
          try await pool.gpus("gpu0 is quarantined") { $0["0"]?.state == "quarantined" }
          try await pool.status("gpu1 alone serves") { $0.running.map(\.id) == ["gpu1"] && $0.maxConcurrent == 1 }

          // In the same boot it is what it was: no driver tells of an error twice.
          try await restart(pool) { try await gpus.clear() }
          _ = try await pool.ready(1)
          let same = try await pool.gpus("gpu0 is left alone") { $0["0"]?.state == "quarantined" }
          #expect(same["0"]?.reason?.contains("XID 79") == true, "\(same)")

          // Another boot, with a GPU that comes before the others.
          try await restart(pool) {
            try setBoot("22222222-2222-4222-8222-222222222222")
            let new = "gpu uuid=GPU-new name=New bus=0000ffff:00:00.0 total=80GiB minor=3"
            try gpus.edit { $0.hasPrefix("gpu ") && $0.contains(SimulatedGPUs.uuid(0)) ? new + "\n" + $0 : $0 }
          }
          let after = try await pool.status("gpu0 serves again") {
            $0.instance("gpu0")?.state == "ready" && $0.maxConcurrent == 2
          }
          #expect(after.desired == 2, "the order to scale holds")
          let seen = try await pool.gpus("all four are there") { $0.count == 4 }
          for number in 0..<3 { #expect(seen["\(number)"]?.uuid == SimulatedGPUs.uuid(number)) }
          #expect(seen["3"]?.uuid == "GPU-new", "\(seen)")
          #expect(seen["2"]?.state == "cordoned" && seen["2"]?.reason?.contains("training") == true, "\(seen)")
          #expect(after.instance("gpu2")?.mainPID == nil)
          #expect(try await Conversation.chat(tokens: 2).isDone)
        }
      }
    }
  }
}
