import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct DoctorTests {
  /// What makes device nodes is outside then.
  private static let isInContainer = access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0

  @Test func `each finding has a status, and a remedy unless it is well`() async throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write("gpus: cpu\n", to: "pool.yaml")
    let result = try await CommandLine.run(["doctor", "--json", "--config", file, "--socket", folder.path])
    #expect(result.end == .exited(1))
    let findings = try #require(result.json["findings"] as? [[String: Any]])
    for finding in findings {
      let status = try #require(finding["status"] as? String)
      #expect(["ok", "warning", "problem"].contains(status))
      #expect((finding["remedy"] is String) == (status != "ok"), "\(finding)")
      #expect((finding["text"] as? String)?.isEmpty == false)
    }
    func status(_ check: String) -> String? { findings.first { $0["check"] as? String == check }?["status"] as? String }
    #expect(status("configuration") == "ok")
    #expect(status("gpus") == "ok")
    #expect(status("dispatcher") == "problem")
    #expect(status("supervisor") == "problem")
    #expect(status("systemd") != nil)
    #expect(result.json["problems"] as? Int == findings.count { $0["status"] as? String == "problem" })
  }

  @Test func `a GPU without its device node is a problem with a remedy`() async throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write(
      "gpus: [{uuid: GPU-8932f937-d72c-4106-c12f-20bd9faed9f6, nodes: [/dev/nvidia-none]}]\n", to: "pool.yaml")
    let result = try await CommandLine.run(["doctor", "--config", file, "--socket", folder.path])
    #expect(result.end == .exited(1))
    #expect(result.output.contains("there is no /dev/nvidia-none"))
    #expect(result.output.contains(Self.isInContainer ? "docker run --gpus all" : "→ `nvidia-modprobe -u -c=0`"))
  }

  @Test func `what the driver says of GPUs, MIG mode and others' processes is looked at`() async throws {
    let folder = try TemporaryDirectory()
    let holder = try RunningProgram("sleep", ["600"])
    defer { holder.killTree() }
    let fake = try await FakeNVML(
      state: """
        driver 550.54.15
        gpu uuid=GPU-a name=Fake_H100 bus=00000000:01:00.0 minor=90 total=85899345920 used=6442450944
        gpu uuid=GPU-b name=Fake_H100 bus=00000000:02:00.0 minor=91 total=85899345920 mig=1
        proc gpu=0 pid=\(holder.processID) used=6442450944
        fail nvmlDeviceRegisterEvents 4 gpu=0

        """)
    let library = URL(fileURLWithPath: fake.library).deletingLastPathComponent().path
    let file = try folder.write("listen: [127.0.0.1:11434]\n", to: "pool.yaml")
    let result = try await CommandLine.run(
      ["doctor", "--json", "--config", file, "--socket", folder.path],
      environment: ["LD_LIBRARY_PATH": library, "XDG_STATE_HOME": folder.path, "CUDA_VISIBLE_DEVICES": "1"])
    #expect(result.end == .exited(1))
    let findings = (result.json["findings"] as? [[String: Any]]) ?? []
    func expect(_ check: String, _ status: String, _ text: String, remedy: String?) {
      let found = findings.first {
        $0["check"] as? String == check && ($0["text"] as? String)?.contains(text) == true
      }
      #expect(found?["status"] as? String == status, "\(check): \(text): \(findings)")
      if let remedy { #expect((found?["remedy"] as? String)?.contains(remedy) == true, "\(check): \(text)") }
    }
    expect("driver", "ok", "NVIDIA's, version 550.54.15", remedy: nil)
    expect("driver", "warning", "does not tell errors (XID) of GPU-a", remedy: "may not open")
    expect(
      "gpus", "problem", "there is no /dev/nvidia90",
      remedy: Self.isInContainer ? "--gpus all" : "`nvidia-modprobe -u -c=90`")
    expect("gpus", "warning", "others hold 6 GiB", remedy: "`busy_memory`")
    expect("gpus", "warning", "sleep (process \(holder.processID)", remedy: nil)
    expect("placements", "warning", "in MIG mode and has no slices", remedy: "nvidia-smi mig -i GPU-b -cgi")
    expect("placements", "ok", ": CUDA_VISIBLE_DEVICES=GPU-a ", remedy: nil)
    expect("variables", "warning", "CUDA_VISIBLE_DEVICES=1 of this shell has no effect", remedy: "under `gpus`")
  }

  @Test(.enabled(if: access("/run/systemd/system", F_OK) != 0, "needs a machine without systemd"))
  func `an import without a service says so, and prints nothing`() async throws {
    let result = try await CommandLine.run(["doctor", "--import"])
    #expect(result.end == .exited(1) && result.output.isEmpty)
    #expect(result.complaint.contains("`ollama-pool config show`"))
    #expect(try await CommandLine.run(["doctor", "--import", "--json"]).end == .exited(64))
  }

  @Test func `a wrong configuration is a finding, and the rest is looked at all the same`() async throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write("slots: many\n", to: "pool.yaml")
    let result = try await CommandLine.run(["doctor", "--config", file, "--socket", folder.path])
    #expect(result.end == .exited(1))
    #expect(result.output.contains("\(file):1:8: slots: "))
    #expect(result.output.contains("supervisor"))
  }

  @Test func `a pool that runs is well`() async throws {
    try await FakePool.run(
      dispatcher: ["GetStatus": Sample.dispatcherStatus], supervisor: ["GetStatus": Sample.supervisorStatus]
    ) { pool in
      let result = try await pool.run("doctor", "--json")
      let findings = try #require(result.json["findings"] as? [[String: Any]])
      for daemon in ["dispatcher", "supervisor"] {
        #expect(findings.first { $0["check"] as? String == daemon }?["status"] as? String == "ok")
      }
    }
  }
}
