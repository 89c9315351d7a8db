import Foundation
package import Testing

/// A program that only tests use: on the PATH, where servers are, or where scripts/packages puts it.
package enum Tool {
  package static func path(_ name: String) -> String? {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    return (folders + ["/usr/sbin", PackageRoot.path(to: ".build/tools")]).map { "\($0)/\(name)" }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  package static func isHere(_ name: String) -> Bool { path(name) != nil }
  package static func remedy(_ name: String) -> Comment { "needs \(name): scripts/packages test" }
}

/// Prometheus' own checker of rules and metrics.
package enum Promtool {
  package static let isHere = Tool.isHere("promtool")
  package static let remedy = Tool.remedy("promtool")

  /// What it says to its arguments, and whether it is content.
  package static func ask(_ arguments: String..., input: String = "") async throws -> (text: String, isFine: Bool) {
    let result = try await run(Tool.path("promtool") ?? "promtool", arguments, input: input)
    return (result.output + result.errorOutput, result.end == .exited(0))
  }
}
