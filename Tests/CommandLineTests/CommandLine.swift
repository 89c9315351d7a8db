import Foundation
import Glibc
import TestSupport

/// Runs the built executable.
enum CommandLine {
  static let program = BuiltProduct.path("ollama-pool")

  struct Result {
    var output: String
    var errorOutput: String
    var end: ProgramEnd

    var outputLines: [Substring] { output.split(separator: "\n") }
    /// The only line on standard error; what there is instead, if it is not one.
    var complaint: String {
      let lines = errorOutput.split(separator: "\n", omittingEmptySubsequences: false)
      return lines.count == 2 && lines[1].isEmpty ? String(lines[0]) : "not one line: \(errorOutput)"
    }
    /// The object on standard output; empty if there is none.
    var json: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any]) ?? [:] }
    /// The list of objects on standard output.
    var jsonList: [[String: Any]] {
      (try? JSONSerialization.jsonObject(with: Data(output.utf8)) as? [[String: Any]]) ?? []
    }
  }

  /// Variables that would lead a command to a pool of this machine.
  static let isolation: [String: String?] = [
    "OLLAMA_POOL_SOCKET": nil, "XDG_RUNTIME_DIR": nil, "XDG_STATE_HOME": nil, "NO_COLOR": nil,
  ]

  static func run(
    _ arguments: [String], socket: String? = nil, environment: [String: String?] = [:]
  ) async throws -> Result {
    var variables = isolation
    if let socket { variables["OLLAMA_POOL_SOCKET"] = socket }
    variables.merge(environment) { $1 }
    let (output, errorOutput, end) = try await TestSupport.run(program, arguments, environment: variables)
    return Result(output: output, errorOutput: errorOutput, end: end)
  }
}
