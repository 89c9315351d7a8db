import Foundation
import Glibc
import TestSupport
import Testing

extension SystemTests {
  /// What `ollama-pool doctor` finds of GPUs and their driver where the pool is installed.
  @Suite(.serialized) struct GPUDoctorTests {
    private static let instancesUser = "ollama-pool-instance"

    @Test func whatIsAmissWithGPUsAndTheirNodesIsFoundWithItsRemedy() async throws {
      try await SimulatedGPUs.running("", options: ["--count", "3"]) { gpus in
        try gpus.edit { $0.contains(SimulatedGPUs.uuid(2)) ? $0 + " mig=1" : $0 }
      } _: { pool, gpus in
        _ = try await pool.ready(1)
        // What is merely not as one might expect is no failure.
        try await gpus.fault("gpu1 call nvmlDeviceRegisterEvents 4")
        let others = try await gpus.occupy("gpu1", "60GiB")
        let warned = try await DoctorReport.read()
        #expect(warned.end == .exited(0))
        #expect(warned.findings.contains { $0.check == "driver" && $0.text.contains("NVIDIA's, version 550.54.15") })
        warned.expect(
          "driver", "warning", "NVIDIA's does not tell errors (XID) of \(SimulatedGPUs.uuid(1))",
          remedy: "may not open the driver's device nodes (/dev/nvidia*)")
        warned.expect(
          "gpus", "warning",
          "\(SimulatedGPUs.uuid(1)): others hold 60 GiB, more than `busy_memory` (1 GiB), so nothing is started there: "
            + "ollama-simulator (process \(others.processID)", remedy: "wait for them, or end them")
        warned.expect(
          "placements", "warning", "in MIG mode and has no slices",
          remedy: "nvidia-smi mig -i \(SimulatedGPUs.uuid(2)) -cgi")
        warned.expectNone(but: ["ollama", "driver", "gpus", "placements"])
        others.killTree()
        try await gpus.clear()

        try await outsideContainers { try await nodes() }
        try await serviceOnAGPU(pool)
        let well = try await DoctorReport.read()
        #expect(well.end == .exited(0))
        well.expectNone(but: ["ollama", "placements"])
      }
    }

    /// Nodes that are missing, and that are closed to the instances' user.
    private func nodes() async throws {
      func away(_ node: String) -> String { node + ".away" }
      let missing = ["/dev/nvidia-uvm", "/dev/nvidia1"]
      defer {
        for node in missing { rename(away(node), node) }
        chmod("/dev/nvidia0", 0o666)
      }
      #expect(chmod("/dev/nvidia0", 0o600) == 0)
      for node in missing { #expect(rename(node, away(node)) == 0) }
      let report = try await DoctorReport.read()
      #expect(report.end == .exited(1))
      report.expect(
        "gpus", "problem",
        "\(SimulatedGPUs.uuid(0)): there is no /dev/nvidia-uvm, so an instance would compute on the CPU",
        remedy: "`nvidia-modprobe -u -c=0`")
      report.expect(
        "gpus", "problem", "\(SimulatedGPUs.uuid(1)): there is no /dev/nvidia1, /dev/nvidia-uvm",
        remedy: "`nvidia-modprobe -u -c=1`")
      report.expect(
        "nodes", "problem",
        "/dev/nvidia0 (root:root rw-------): \(Self.instancesUser), which instances run as, may not open them",
        remedy: "`chmod a+rw /dev/nvidia0` until the next boot")
    }

    /// Ollama's own service, with a model on a GPU of the pool's and with a port of an instance's.
    private func serviceOnAGPU(_ pool: InstalledPool) async throws {
      let unit = OllamaService.unit(
        user: "daemon", host: "127.0.0.1:11501",
        environment: [
          "HOME=/srv/service-on-a-gpu", "OLLAMA_SIMULATOR_GPUS=\(SimulatedGPUs.folder)",
          "CUDA_VISIBLE_DEVICES=\(SimulatedGPUs.uuid(1))",
        ])
      // With a store that the pool can't read, and so takes no notice of.
      _ = try await run("install", ["-d", "-m", "700", "-o", "daemon", "/srv/service-on-a-gpu"])
      try await withUnitFile(OllamaService.name, unit) {
        try await systemctl("enable", "--quiet", "--now", OllamaService.name)
        try await eventually(within: .seconds(20), "it has a model loaded") {
          try await HTTPProbe.exchange(
            "POST", "/api/generate", port: 11501, headers: [("Content-Type", "application/json")],
            body: #"{"model":"llama3.2","keep_alive":-1}"#
          ).status == 200
        }
        let report = try await DoctorReport.read()
        #expect(report.end == .exited(1))
        report.expect(
          "ollama.service", "problem",
          "Ollama's own service runs, and holds 127.0.0.1:11501 and 1.9 GiB of \(SimulatedGPUs.uuid(1))",
          remedy: "`systemctl disable --now ollama.service`")
        report.expect(
          "gpus", "warning", "\(SimulatedGPUs.uuid(1)): others hold 1.9 GiB", remedy: "`busy_memory`")
        report.expect(
          "port", "warning", "127.0.0.1:11501, which gpu1 tries first, is held by ollama",
          remedy: "`systemctl disable --now ollama.service` frees it")
        try await systemctl("stop", OllamaService.name)
        let off = try await DoctorReport.read()
        off.expect(
          "ollama.service", "warning", "does not run, and starts beside the pool with the machine",
          remedy: "`systemctl disable ollama.service`")
        #expect(off.end == .exited(0))
      }
    }

    @Test func aDriverThatIsBrokenIsToldWithWhatHelps() async throws {
      try await SimulatedGPUs.running("", options: ["--count", "2"]) { pool, gpus in
        let before = try await pool.ready(1)
        try await gpus.fault("driver mismatch")
        let mismatch = try await DoctorReport.read()
        #expect(mismatch.end == .exited(1))
        mismatch.expect(
          "driver", "problem", "NVIDIA's does not answer: nvmlInit_v2",
          remedy: "the driver was upgraded and its kernel module is still the old one: restart the machine")
        #expect(mismatch.complaints.contains { $0.text.contains("NVML code 18") }, "\(mismatch.complaints)")
        try await gpus.clear()

        let missed = "there were GPUs on this machine, and there is none now"
        try await gpus.fault("driver gone")
        let gone = try await DoctorReport.read()
        #expect(gone.end == .exited(1))
        gone.expect("gpus", "problem", missed, remedy: "load their driver")
        try await gpus.clear()

        try await withGarbageForALibrary {
          let garbage = try await DoctorReport.read()
          #expect(garbage.end == .exited(1))
          garbage.expect("gpus", "problem", missed, remedy: "load their driver")
          #expect(garbage.complaints.contains { $0.text.contains("libnvidia-ml.so.1") }, "\(garbage.complaints)")
          try await withKernelModule {
            try await outsideContainers {
              let broken = try await DoctorReport.read()
              #expect(broken.end == .exited(1))
              broken.expect(
                "driver", "problem",
                "the kernel has NVIDIA's module 550.54.15, and its library can't be loaded: libnvidia-ml.so.1",
                remedy: "install the part of the driver that has libnvidia-ml.so.1, of just that version")
            }
          }
        }
        let well = try await DoctorReport.read()
        #expect(well.end == .exited(0))
        well.expectNone(but: ["ollama"])
        let after = try await pool.status("the pool has noticed nothing") { $0.maxConcurrent == 1 }
        #expect(after.running.map(\.mainPID) == before.running.map(\.mainPID))
      }
    }

    /// Where this is tested in a container, of which other things would be said.
    private func outsideContainers(_ body: () async throws -> Void) async throws {
      let marks: [String] = ["/.dockerenv", "/run/.containerenv"].filter { access($0, F_OK) == 0 }
      for mark in marks { rename(mark, mark + ".away") }
      defer { for mark in marks { rename(mark + ".away", mark) } }
      try await body()
    }

    /// The supervisor goes on with the one that it has open.
    private func withGarbageForALibrary(_ body: () async throws -> Void) async throws {
      let library = SimulatedGPUs.folder + "/libnvidia-ml.so.1"
      #expect(rename(library, library + ".away") == 0)
      defer { rename(library + ".away", library) }
      try "This is no library.\n".write(toFile: library, atomically: false, encoding: .utf8)
      try await body()
    }

    /// The kernel shows a module of NVIDIA's.
    private func withKernelModule(_ body: () async throws -> Void) async throws {
      let folder = try TemporaryDirectory()
      try FileManager.default.createDirectory(atPath: folder.path(to: "nvidia"), withIntermediateDirectories: false)
      try folder.write(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n",
        to: "nvidia/version")
      let mount = try await run("mount", ["--bind", folder.path, "/proc/driver"])
      guard mount.end == .exited(0) else { throw Failed("mount: \(mount.errorOutput)") }
      do {
        try await body()
      } catch {
        _ = try? await run("umount", ["/proc/driver"])
        throw error
      }
      _ = try await run("umount", ["/proc/driver"])
    }
  }
}
