import Foundation
import TestSupport
import Testing

@Suite struct ConfigTests {
  @Test func `a wrong configuration is status 78, with file, line and column for each problem`() async throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write("slots: 2\nscaling:\n  minn: 1\nqueue:\n  requests: none\n", to: "pool.yaml")
    for command in [["config", "check"], ["config", "show"]] {
      let result = try await CommandLine.run(command + ["--config", file])
      #expect(result.end == .exited(78))
      #expect(result.output.isEmpty)
      let lines = result.errorOutput.split(separator: "\n")
      #expect(lines.count == 2)
      #expect(lines.first?.hasPrefix("\(file):3:3: scaling.minn: ") == true)
      #expect(lines.last?.hasPrefix("\(file):5:13: queue.requests: ") == true)
    }
    let json = try await CommandLine.run(["config", "check", "--json", "--config", file])
    #expect(json.end == .exited(78))
    #expect(json.json["valid"] as? Bool == false)
    let problems = try #require(json.json["problems"] as? [[String: Any]])
    #expect(problems.map { $0["line"] as? Int } == [3, 5])
    #expect(problems[0]["file"] as? String == file)
  }

  @Test func `a file that is missing is status 78`() async throws {
    let result = try await CommandLine.run(["config", "check", "--config", "/nowhere/pool.yaml"])
    #expect(result.end == .exited(78))
    #expect(result.complaint.hasPrefix("/nowhere/pool.yaml: "))
  }

  @Test func `what show prints is the same configuration again`() async throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write("slots: 3\nscaling: {min: 2, policy: latency}\ndrain_timeout: 90s\n", to: "pool.yaml")
    let shown = try await CommandLine.run(["config", "show", "--config", file])
    #expect(shown.end == .exited(0))
    #expect(shown.output.contains("\(file):1"))
    let json = try await CommandLine.run(["config", "show", "--json", "--config", file])
    #expect(json.json["slots"] as? Int == 3)

    let copy = try folder.write(shown.output, to: "copy.yaml")
    let jsonCopy = try folder.write(json.output, to: "json.yaml")
    for path in [copy, jsonCopy] {
      let again = try await CommandLine.run(["config", "show", "--json", "--config", path])
      #expect(again.output == json.output)
    }
    let check = try await CommandLine.run(["config", "check", "--config", copy])
    #expect(check.output == "All is right in \(copy).\n")
    let report = try await CommandLine.run(["config", "check", "--json", "--config", copy]).json
    #expect(report["valid"] as? Bool == true)
  }
}
