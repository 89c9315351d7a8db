import Foundation
import TestSupport
import Testing

extension SystemTests {
  @Suite(.serialized) struct GPUTests {
    /// NVML counts them in another order than the PCI bus, which gives the numbers.
    private static let state = """
      gpu uuid=GPU-second name=Fake_H100 bus=00000000:41:00.0 minor=1
      gpu uuid=GPU-first name=Fake_H100 bus=00000000:01:00.0 minor=0

      """

    /// As a driver's installer leaves it: on the dynamic linker's path.
    private func withDriver(_ body: () async throws -> Void) async throws {
      let library = "/usr/local/lib/libnvidia-ml.so.1"
      let fake = try await FakeNVML()
      _ = try await run("install", ["-m", "755", fake.library, library])
      try Self.state.write(toFile: "/usr/local/lib/nvml.state", atomically: false, encoding: .utf8)
      try await ldconfig()
      do {
        #expect(try await run("ldconfig", ["-p"]).output.contains(library))
        try await body()
      } catch {
        try? await takeAway(library)
        throw error
      }
      try await takeAway(library)
    }

    private func takeAway(_ library: String) async throws {
      for path in [library, "/usr/local/lib/nvml.state"] { try FileManager.default.removeItem(atPath: path) }
      try await ldconfig()
    }

    private func ldconfig() async throws {
      let command = try await run("ldconfig")
      guard command.end == .exited(0) else { throw Failed("ldconfig: \(command.errorOutput)") }
    }

    @Test func whereTheDriverIsThereItNamesTheGPUsAndTheSupervisorsSandboxLetsItBeRead() async throws {
      try await withDriver {
        try await InstalledPool.running(SystemTests.two, gpus: "gpus: auto") { pool in
          let status = try await pool.ready(2)
          for (number, uuid) in ["GPU-first", "GPU-second"].enumerated() {
            let instance = try #require(status.instance("gpu\(number)"))
            #expect(instance.gpus == [uuid])
            let process = try #require(instance.mainPID)
            let environment = try String(contentsOfFile: "/proc/\(process)/environ", encoding: .utf8)
            #expect(environment.split(separator: "\0").contains("CUDA_VISIBLE_DEVICES=\(uuid)"))
            let devices = try await pool.property("DeviceAllow", of: "ollama-instance-gpu\(number).service")
            #expect(devices.contains("/dev/nvidia\(number)") && !devices.contains("/dev/nvidia\(1 - number)"))
          }
          #expect(try await pool.pool("gpus").output.contains("Fake H100"))
          let maps = try String(
            contentsOfFile: "/proc/\(try await pool.mainPID(of: InstalledPool.supervisor))/maps", encoding: .utf8)
          #expect(maps.contains("/usr/local/lib/libnvidia-ml.so.1"))
          #expect(try await Conversation.chat(tokens: 2).isDone)
        }
      }
    }
  }
}
