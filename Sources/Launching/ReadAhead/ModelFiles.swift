import FoundationEssentials
import Glibc
import PoolCore

/// The files that Ollama reads to load a model, as its store has them:
///
///     manifests/HOST/NAMESPACE/MODEL/TAG     JSON that names layers by their digests
///     blobs/sha256-…                         the layers
///
/// Source: `server/modelpath.go` and `manifest.go` of ollama/ollama, v0.33.
struct ModelFiles: Equatable {
  /// In the order in which they are loaded.
  var paths: [String]

  /// A manifest has some kilobytes; what is larger is none.
  private static let largestManifest = 1 << 20
  /// Beside these a model has its licence, template and parameters, of some kilobytes.
  private static let weights: Set<String> = [
    "application/vnd.ollama.image.model", "application/vnd.ollama.image.projector",
    "application/vnd.ollama.image.adapter", "application/vnd.ollama.image.tensor",
  ]

  private struct Manifest: Decodable {
    struct Layer: Decodable {
      var mediaType: String
      var digest: String
    }

    var layers: [Layer]
  }

  /// - Returns: nil where the store has no such model.
  init?(of name: ModelName, in store: String) {
    var path = store + "/manifests"
    for part in [name.host, name.namespace, name.model, name.tag] {
      guard let entry = Self.entry(part, in: path) else { return nil }
      path += "/" + entry
    }
    guard let text = Self.read(path),
      let manifest = try? JSONDecoder().decode(Manifest.self, from: Data(text))
    else { return nil }
    paths = manifest.layers.filter { Self.weights.contains($0.mediaType) }.compactMap { layer in
      Self.fileName(of: layer.digest).map { "\(store)/blobs/\($0)" }
    }
  }

  /// "sha256:" and 64 hexadecimal digits: nothing else becomes part of a path.
  private static func fileName(of digest: String) -> String? {
    let parts = digest.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0] == "sha256", parts[1].utf8.count == 64, parts[1].allSatisfy(\.isHexDigit) else {
      return nil
    }
    return "sha256-\(parts[1])"
  }

  /// What a folder calls the entry that is `name` but for upper and lower case, which distinguish no models.
  private static func entry(_ name: String, in folder: String) -> String? {
    var information = stat()
    if stat("\(folder)/\(name)", &information) == 0 { return name }
    guard let directory = opendir(folder) else { return nil }
    defer { closedir(directory) }
    let wanted = name.lowercased()
    while let entry = readdir(directory) {
      let found = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
      }
      if found.lowercased() == wanted { return found }
    }
    return nil
  }

  private static func read(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    while bytes.count <= largestManifest {
      var result = 0
      let piece = [UInt8](unsafeUninitializedCapacity: 1 << 14) { buffer, count in
        result = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
        count = max(0, result)
      }
      if result < 0, errno == EINTR { continue }
      guard result >= 0 else { return nil }
      if piece.isEmpty { return bytes }
      bytes += piece
    }
    return nil
  }
}
