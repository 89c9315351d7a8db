import Foundation
import Glibc
import TestSupport
import Testing

/// The release build, which is what people run and install. It takes minutes, so it is not made here: `.ci/run` does,
/// before the tests.
enum ReleaseBuild {
  static let remedy: Comment = "needs a release build of these sources: `make build`"
  static let folder = PackageRoot.path(to: ".build/release")

  /// There, and newer than all that it is made of.
  static func isUpToDate() async -> Bool {
    let question = try? await run(
      "make", ["-C", PackageRoot.path, "--question", ".build/release-is-built"], environment: Installing.noOuterMake)
    return question?.end == .exited(0)
  }
}

@Suite(
  .serialized, .enabled(if: SystemdHost.isAvailable, SystemdHost.remedy),
  .enabled(ReleaseBuild.remedy) { await ReleaseBuild.isUpToDate() }, .timeLimit(.minutes(5)))
struct ReleaseTests {
  @Test(arguments: ["ollama-pool", "ollama-simulator", "libSimulatedNVML.so"])
  func `a program needs no library that comes with a toolchain`(program: String) async throws {
    let libraries = try await run("ldd", [ReleaseBuild.folder + "/" + program]).output.split(separator: "\n")
    #expect(libraries.contains { $0.contains("libc.so.6") })
    for library in libraries {
      #expect(library.firstMatch(of: /swift|Foundation|dispatch|BlocksRuntime|not found/) == nil, "\(library)")
    }
  }

  @Test func `make run takes the next port where one is held, says what to type, and leaves nothing at Ctrl-C`()
    async throws
  {
    let holder = try RunningProgram("python3", ["-m", "http.server", "11434", "--bind", "127.0.0.1"])
    try await eventually("the port is held") {
      (try? await HTTPProbe.exchange("GET", "/", port: 11434))?.status == 200
    }
    try await withoutOllama {
      let pool = try RunningProgram(
        "make", ["--no-print-directory", "run"], environment: Installing.noOuterMake,
        workingDirectory: PackageRoot.path)
      try await pool.line(containing: "Ctrl-C stops the pool", within: .seconds(60))
      let words = pool.output
      let port = try #require(words.firstMatch(of: /serves at http:\/\/127\.0\.0\.1:(\d+)\n/).flatMap { Int($0.1) })
      #expect((11435...11534).contains(port))
      #expect(words.contains("Port 11434 is taken by python3 (process \(holder.processID)"), "\(words)")
      #expect(words.contains("\nNo `ollama` is installed") && words.contains("stands in for it"), "\(words)")
      // As a shell runs them, wherever it is.
      let commands = pool.outputLines.map { $0.trimmingPrefix(while: \.isWhitespace) }
      for (name, answer) in [("curl ", #""done":true"#), ("ollama-pool status", "ready")] {
        let command = try #require(commands.first { $0.contains(name) }.map(String.init), "\(words)")
        let typed = try await run("sh", ["-c", command], workingDirectory: "/")
        #expect(typed.end == .exited(0) && typed.output.contains(answer), "\(command): \(typed)")
      }
      // A terminal sends it to all that run there.
      kill(-pool.processID, SIGINT)
      try await pool.wait(within: .seconds(30))
      try await pool.waitForEndOfOutput()
      #expect(pool.output.contains("Stopping: running requests may end."))
      try await eventually("no process is left") {
        try await run("pgrep", ["-f", "ollama-simulator|ollama-pool (serve|instance-guard)"]).output.isEmpty
      }
    }
    holder.killTree()
  }
}
