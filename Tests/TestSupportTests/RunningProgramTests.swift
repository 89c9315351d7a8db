import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct RunningProgramTests {
  @Test func outputErrorsAndStatusOfAProgramAreKeptApart() async throws {
    let result = try await run("sh", ["-c", "cat; echo oops >&2; exit 3"], input: "hello")
    #expect(result.output == "hello")
    #expect(result.errorOutput == "oops\n")
    #expect(result.end == .exited(3))
  }

  @Test func aProgramThatTakesTooLongIsKilledAndReported() async throws {
    await #expect(throws: NeverHappened.self) {
      try await run("sleep", ["100"], within: .milliseconds(50))
    }
  }

  @Test func theWholeTreeDiesWithTheLastReference() async throws {
    var program: RunningProgram? = try RunningProgram("sh", ["-c", "setsid sleep 100 & echo $!; wait"])
    try await eventually("the child is there") { program?.outputLines.isEmpty == false }
    let child = try #require(program?.outputLines.first.flatMap { Int32($0) })
    #expect(kill(child, 0) == 0)
    program = nil
    try await eventually("the child is gone") {
      let stat = try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)
      return stat == nil || stat?.contains(") Z ") == true
    }
  }

  @Test func signalsDescriptorsEnvironmentAndDirectoryReachTheProgram() async throws {
    let directory = try TemporaryDirectory()
    let file = open(try directory.write("passed on", to: "file"), O_RDONLY)
    defer { close(file) }
    let program = try RunningProgram(
      "sh", ["-c", "pwd; echo $GREETING; cat <&5; echo; trap 'exit 7' TERM; while :; do sleep 0.01; done"],
      environment: ["GREETING": "good day"], workingDirectory: directory.path,
      descriptors: [(own: file, inProgram: 5)])
    try await program.line(containing: "passed on")
    #expect(program.outputLines == [directory.path[...], "good day", "passed on"])
    #expect(try await program.stop() == .exited(7))
  }

  @Test func aMissingProgramIsAnError() throws {
    #expect(throws: SystemCallFailed.self) { try RunningProgram("/no/such/program") }
  }
}
