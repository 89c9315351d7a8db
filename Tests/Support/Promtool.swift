import Foundation
package import Testing

/// Prometheus' own checker of rules and metrics: on the PATH, or where scripts/packages puts it.
package enum Promtool {
  package static let path: String? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    return (folders + [PackageRoot.path(to: ".build/tools")]).map { $0 + "/promtool" }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }()

  package static let isHere = path != nil
  package static let remedy: Comment = "needs promtool: scripts/packages test"

  /// What it says to its arguments, and whether it is content.
  package static func ask(_ arguments: String..., input: String = "") async throws -> (text: String, isFine: Bool) {
    let result = try await run(path ?? "promtool", arguments, input: input)
    return (result.output + result.errorOutput, result.end == .exited(0))
  }
}
