import Foundation
import TestSupport

/// The files that the repository consists of.
enum Repository {
  /// Paths from the root, of all files below `folder` whose names end with one of `suffixes`.
  static func files(below folder: String, _ suffixes: String...) throws -> [String] {
    let names = try FileManager.default.subpathsOfDirectory(atPath: PackageRoot.path(to: folder))
    return names.filter { name in suffixes.contains { name.hasSuffix($0) } }.sorted().map { folder + "/" + $0 }
  }

  static func text(_ path: String) throws -> String {
    try String(contentsOfFile: PackageRoot.path(to: path), encoding: .utf8)
  }

  static func lines(_ path: String) throws -> [(number: Int, text: Substring)] {
    try text(path).split(separator: "\n", omittingEmptySubsequences: false).enumerated().map { ($0 + 1, $1) }
  }

  /// Where one of the files has a line that matches, as `path:line: text`.
  static func places(in paths: [String], where matches: (Substring) throws -> Bool) throws -> [String] {
    try paths.flatMap { path in
      try lines(path).filter { try matches($0.text) }.map { "\(path):\($0.number): \($0.text)" }
    }
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
}
