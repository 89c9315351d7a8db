import Foundation
import TestSupport

/// A folder that stands for `/`.
final class MachineFiles: Sendable {
  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory() }

  var root: String { folder.path }

  func write(_ text: String, to path: String) throws {
    try makeParent(of: path)
    try folder.write(text, to: path)
  }

  func remove(_ path: String) throws { try FileManager.default.removeItem(atPath: folder.path(to: path)) }

  func link(_ path: String, to destination: String) throws {
    try makeParent(of: path)
    try FileManager.default.createSymbolicLink(
      atPath: folder.path(to: path), withDestinationPath: destination)
  }

  private func makeParent(of path: String) throws {
    let parent = URL(fileURLWithPath: folder.path(to: path)).deletingLastPathComponent().path
    try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
  }
}
