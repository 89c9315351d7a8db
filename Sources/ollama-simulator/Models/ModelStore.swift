import Glibc
import PoolCore

/// The models on disk, in a subfolder of OLLAMA_MODELS of their own, so that a real Ollama's store is never touched.
/// Nothing is kept in memory: servers that share the folder see each other's changes at once.
struct ModelStore: Sendable {
  private let modelsFolder: String
  private let blobsFolder: String

  /// Makes the folders, and in a new store the models that a simulator has from the start. One that is there need not
  /// be writable, as Ollama's need not.
  init(folder: String) throws(SimulatorError) {
    modelsFolder = folder + "/simulator/models"
    blobsFolder = folder + "/simulator/blobs"
    var information = stat()
    let isNew = stat(modelsFolder, &information) != 0
    try SmallFile.makeFolder(modelsFolder)
    try SmallFile.makeFolder(blobsFolder)
    if isNew { for model in Self.initialModels { try save(model) } }
  }

  private static var initialModels: [StoredModel] {
    [
      ("llama3.2", 2_019_393_189, "llama", "3.2B", ["completion", "tools"]),
      ("qwen3:0.6b", 522_653_767, "qwen3", "751.63M", ["completion", "tools", "thinking"]),
      ("nomic-embed-text", 274_302_450, "nomic-bert", "137M", ["embedding"]),
    ].compactMap { name, size, family, parameters, capabilities in
      ModelName(name).map {
        StoredModel($0, size: size, family: family, parameterSize: parameters, capabilities: capabilities)
      }
    }
  }

  // MARK: Models

  /// All models, the newest first, as Ollama lists them.
  var all: [StoredModel] {
    SmallFile.names(in: modelsFolder).filter { $0.hasSuffix(".json") }.compactMap { read(modelsFolder + "/" + $0) }
      .sorted { ($1.modifiedAt, $0.name.key) < ($0.modifiedAt, $1.name.key) }
  }

  func find(_ name: String) -> StoredModel? { ModelName(name).flatMap { read(path(of: $0)) } }

  func save(_ model: StoredModel) throws(SimulatorError) {
    try SmallFile.write(model.manifest.line, to: path(of: model.name))
  }

  /// Returns whether there was one.
  func delete(_ name: String) -> Bool { ModelName(name).map { unlink(path(of: $0)) == 0 } ?? false }

  private func read(_ path: String) -> StoredModel? {
    SmallFile.read(path, limit: 65_536).flatMap(JSON.parse).flatMap(StoredModel.init(manifest:))
  }

  /// A name has no character that a file's name can't have, but for its slashes and colons.
  private func path(of name: ModelName) -> String {
    modelsFolder + "/" + name.key.replacing("/", with: "%2F").replacing(":", with: "%3A") + ".json"
  }

  // MARK: Blobs

  /// Where the blob is or would be; nil when `digest` is none ("sha256:" and 64 hexadecimal digits).
  func blobPath(_ digest: String) -> String? {
    let hex = digest.replacing("sha256-", with: "sha256:").dropFirst("sha256:".count)
    guard digest.hasPrefix("sha256"), hex.utf8.count == 64, hex.allSatisfy(\.isHexDigit) else { return nil }
    return blobsFolder + "/sha256-" + hex.lowercased()
  }

  func hasBlob(_ digest: String) -> Bool { blobPath(digest).map { access($0, F_OK) == 0 } ?? false }
}
