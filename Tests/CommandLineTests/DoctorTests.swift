import Foundation
import TestSupport
import Testing

@Suite struct DoctorTests {
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
    #expect(result.output.contains("→ `nvidia-modprobe -u -c=0`"))
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
