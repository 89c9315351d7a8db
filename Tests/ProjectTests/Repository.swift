import Foundation
import TestSupport

/// The files that the repository consists of.
enum Repository {
  struct Line: CustomStringConvertible {
    var path: String
    var number: Int
    var text: Substring

    var description: String { "\(path):\(number): \(text)" }

    /// Without what follows `//`, and without the contents of strings.
    var code: Substring {
      let withoutStrings = text.replacing(/"(?:[^"\\]|\\.)*"/, with: "\"\"")
      return withoutStrings.firstRange(of: "//").map { withoutStrings[..<$0.lowerBound] } ?? withoutStrings[...]
    }
  }

  /// Paths from the root, of all files below `folder` whose names end with one of `suffixes`.
  static func files(below folder: String, _ suffixes: String...) throws -> [String] {
    let names = try FileManager.default.subpathsOfDirectory(atPath: PackageRoot.path(to: folder))
    return names.filter { name in suffixes.contains { name.hasSuffix($0) } }.sorted().map { folder + "/" + $0 }
  }

  static func text(_ path: String) throws -> String {
    try String(contentsOfFile: PackageRoot.path(to: path), encoding: .utf8)
  }

  static func lines(_ path: String) throws -> [Line] {
    try text(path).split(separator: "\n", omittingEmptySubsequences: false).enumerated().map {
      Line(path: path, number: $0 + 1, text: $1)
    }
  }

  /// The lines of some files that match an extended regular expression. grep does the searching, for it is a hundred
  /// times faster on all the sources than a debug build is.
  static func lines(of paths: [String], matching expression: String) async throws -> [Line] {
    let grep = try await run(
      "grep", ["-nHIE", "--", expression] + paths, environment: ["LC_ALL": "C.UTF-8"],
      workingDirectory: PackageRoot.path)
    guard grep.end == .exited(0) || grep.end == .exited(1) else {
      throw Failed(description: "grep \(expression): \(grep.errorOutput)")
    }
    return grep.output.split(separator: "\n").compactMap { match in
      let parts = match.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3, let number = Int(parts[1]) else { return nil }
      return Line(path: String(parts[0]), number: number, text: parts[2])
    }
  }

  /// The same, of the code alone: what is in comments and strings doesn't count.
  static func code(of paths: [String], matching expression: String) async throws -> [Line] {
    let expressionOfCode = try Regex(expression)
    return try await lines(of: paths, matching: expression).filter { $0.code.contains(expressionOfCode) }
  }

  /// Everything that people wrote, apart from this folder, whose tests name what they forbid.
  static func everything() throws -> [String] {
    let folders = try ["Sources", "Tests", "units", "config", "docs", "scripts"].flatMap { try files(below: $0, "") }
    return (folders + ["Package.swift", "Makefile", "README.md", ".ci/run"]).filter { path in
      var isFolder: ObjCBool = false
      let exists = FileManager.default.fileExists(atPath: PackageRoot.path(to: path), isDirectory: &isFolder)
      return exists && !isFolder.boolValue && !path.hasPrefix("Tests/ProjectTests/")
    }
  }

  struct Failed: Error, CustomStringConvertible { let description: String }
}
