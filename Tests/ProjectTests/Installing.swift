import Foundation
import TestSupport

/// `make install` and the like, with the programs that were built along with the tests.
enum Installing {
  struct Failed: Error, CustomStringConvertible { let description: String }

  /// An outer make's settings would come first.
  static let noOuterMake: [String: String?] = [
    "MAKEFLAGS": nil, "MAKELEVEL": nil, "PREFIX": nil, "DESTDIR": nil, "PURGE": nil, "PROGRAMS": nil,
  ]

  /// What make wrote.
  @discardableResult
  static func make(_ target: String, _ variables: String...) async throws -> String {
    let built = URL(fileURLWithPath: BuiltProduct.path("ollama-pool")).deletingLastPathComponent().path
    let result = try await run(
      "make", ["--no-print-directory", "-C", PackageRoot.path, target, "PROGRAMS=\(built)"] + variables,
      environment: noOuterMake, within: .seconds(120))
    guard result.end == .exited(0) else {
      throw Failed(description: "make \(target): \(result.end): \(result.output)\(result.errorOutput)")
    }
    return result.output + result.errorOutput
  }

  /// Paths of the files below `folder`, from there.
  static func files(below folder: String) throws -> Set<String> {
    let all = try FileManager.default.subpathsOfDirectory(atPath: folder)
    return Set(
      all.filter { name in
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: folder + "/" + name, isDirectory: &isFolder)
          && !isFolder.boolValue
      })
  }
}
