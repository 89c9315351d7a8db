import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Who may do what on an installed pool.
  @Suite(.serialized) struct RightsTests {
    /// `ollama-pool` as another user, who has no right beyond those of the groups.
    private func pool(
      as user: String, groups: String? = nil, _ arguments: [String]
    ) async throws -> (output: String, errorOutput: String, end: ProgramEnd) {
      let group = user == "nobody" ? "nogroup" : user
      return try await run(
        "setpriv",
        ["--reuid=\(user)", "--regid=\(group)", groups.map { "--groups=\($0)" } ?? "--clear-groups"]
          + ["/usr/bin/ollama-pool"] + arguments)
    }

    private let noEntry = "in the group ollama-pool (`sudo usermod -aG ollama-pool "
    private let noChange = "may look at the pool and not change it: be root (sudo)"

    /// In one line, which tells what would help.
    private func expectRefused(
      _ command: (output: String, errorOutput: String, end: ProgramEnd), _ words: String,
      sourceLocation: SourceLocation = #_sourceLocation
    ) {
      #expect(command.end == .exited(1), sourceLocation: sourceLocation)
      #expect(
        command.errorOutput.contains(words) && command.errorOutput.split(separator: "\n").count == 1,
        "\(command.errorOutput)", sourceLocation: sourceLocation)
    }

    @Test func theGroupReadsAndChangesNothingAndAStrangerIsNotEvenAnswered() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        for socket in ["dispatcher", "supervisor"] {
          let mode = try await run("stat", ["-c", "%a %U:%G %F", "/run/ollama-pool/\(socket).sock"])
          #expect(mode.output == "660 root:ollama-pool socket\n")
        }
        let status = try await self.pool(as: "nobody", groups: "ollama-pool", ["status"])
        #expect(status.end == .exited(0) && status.output.contains("gpu0"), "\(status)")
        for command in ["gpus", "queue", "explain"] {
          #expect(try await self.pool(as: "nobody", groups: "ollama-pool", [command]).end == .exited(0), "\(command)")
          expectRefused(try await self.pool(as: "nobody", [command]), noEntry)
        }
        expectRefused(try await self.pool(as: "nobody", groups: "ollama-pool", ["scale", "--fixed", "2"]), noChange)
        expectRefused(try await self.pool(as: "nobody", groups: "ollama-pool", ["drain", "gpu0"]), noChange)
        // The pool's own user is an administrator.
        #expect(try await self.pool(as: "ollama-pool", ["scale", "--fixed", "2"]).end == .exited(0))
        _ = try await pool.ready(2)
      }
    }

    @Test func whatRunsInAnInstanceRulesNothingOfThePool() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        let user = "ollama-pool-instance"
        let process = try await pool.mainPID(of: "ollama-instance-gpu0.service")
        let groups = try await run("getent", ["group", "ollama-pool"]).output.split(separator: ":")
        let ofProcess = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8).split(separator: "\n")
          .first { $0.hasPrefix("Groups:") }?.split(whereSeparator: \.isWhitespace)
        #expect(groups.count > 2 && ofProcess?.contains(groups[2]) == false)
        expectRefused(try await self.pool(as: user, ["status"]), noEntry)
        // Not even where somebody has put it into the group.
        let stream = try await Conversation.begun(tokens: 100)
        let request = try await pool.requests("it is being served") { $0.first?.id }
        for order in [
          ["queue", "cancel", "\(request)"], ["scale", "--fixed", "0"], ["restart", "gpu0"], ["cordon", "gpu1"],
        ] {
          expectRefused(try await self.pool(as: user, groups: "ollama-pool", order), noChange)
        }
        #expect(try await Conversation.finish(stream).isDone)
        #expect(try await pool.mainPID(of: "ollama-instance-gpu0.service") == process)
        let denied = try await pool.entry(containing: "may not call CancelRequest")
        #expect(denied.messageID != nil)
      }
    }
  }
}
