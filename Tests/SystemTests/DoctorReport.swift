import Foundation
import TestSupport
import Testing

/// What `ollama-pool doctor --json` says, and how it ends.
struct DoctorReport {
  struct Finding: Decodable, CustomStringConvertible {
    var check: String
    /// "ok", "warning" or "problem".
    var status: String
    var text: String
    var remedy: String?

    var description: String { "\(status) \(check): \(text) → \(remedy ?? "")" }
  }

  private struct Output: Decodable {
    var findings: [Finding]
  }

  var findings: [Finding]
  var end: ProgramEnd

  /// - Parameter user: who looks, with no group but `nogroup`; nil: root.
  static func read(as user: String? = nil) async throws -> DoctorReport {
    let command = ["/usr/bin/ollama-pool", "doctor", "--json"]
    let words = (user.map { ["setpriv", "--reuid=\($0)", "--regid=nogroup", "--clear-groups"] } ?? ["env"]) + command
    let result = try await run(words[0], Array(words.dropFirst()))
    do {
      let output = try JSONDecoder().decode(Output.self, from: Data(result.output.utf8))
      return DoctorReport(findings: output.findings, end: result.end)
    } catch {
      throw Failed("doctor: \(result.output)\(result.errorOutput): \(error)")
    }
  }

  /// All that isn't well.
  var complaints: [Finding] { findings.filter { $0.status != "ok" } }

  /// That there is a complaint like this one, with this in its remedy.
  func expect(
    _ check: String, _ status: String, _ text: String, remedy: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let isThere = complaints.contains {
      $0.check == check && $0.status == status && $0.text.contains(text) && $0.remedy?.contains(remedy) == true
    }
    #expect(isThere, "\(status) \(check): \(text) is not in \(complaints)", sourceLocation: sourceLocation)
  }

  /// That nothing is amiss but these checks.
  func expectNone(but known: [String] = [], sourceLocation: SourceLocation = #_sourceLocation) {
    let others = complaints.filter { !known.contains($0.check) }
    #expect(others.isEmpty, "\(others)", sourceLocation: sourceLocation)
  }
}
