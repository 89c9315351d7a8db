import FoundationEssentials

import PoolConfiguration

/// The problems of a text, each as its line; empty if it is accepted.
func problems(_ text: String) -> [String] {
  do throws(ConfigurationError) {
    _ = try ConfigurationReader.read(text: text, name: "f")
    return []
  } catch {
    return error.problems.map(\.description)
  }
}

func settings(_ text: String) throws -> Settings {
  try ConfigurationReader.read(text: text, name: "f").settings
}

/// A folder that goes with its value.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/pool-configuration-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file and returns its path.
  @discardableResult
  func write(_ name: String, _ text: String) throws -> String {
    try write(name, Data(text.utf8))
  }

  @discardableResult
  func write(_ name: String, _ data: Data) throws -> String {
    let file = "\(path)/\(name)"
    let folder = String(file[..<(file.lastIndex(of: "/") ?? file.endIndex)])
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try data.write(to: URL(filePath: file))
    return file
  }
}
