import PoolCore

/// A model in the store: only what the API tells of one.
struct StoredModel: Sendable {
  let name: ModelName
  var digest: String
  /// Bytes.
  var size: Int
  var modifiedAt: String
  var family: String
  var parameterSize: String
  var quantization: String
  /// As the API lists them: completion, tools, embedding…
  var capabilities: [String]
  var system: String

  var canGenerate: Bool { capabilities.contains("completion") }
  static let embeddingLength = 768

  init(_ name: ModelName, size: Int, family: String, parameterSize: String, capabilities: [String]) {
    self.name = name
    self.size = size
    self.family = family
    self.parameterSize = parameterSize
    self.capabilities = capabilities
    digest = SHA256.hex("simulated \(name.key)".utf8)
    modifiedAt = WallTime.now.text
    quantization = "Q4_K_M"
    system = ""
  }

  /// What a pull of `name` brings: an embedding model where the name says so.
  init(pulled name: ModelName) {
    let embeds = ["embed", "minilm", "bge"].contains { name.model.lowercased().contains($0) }
    self.init(
      name, size: embeds ? 274_302_450 : 2_019_393_189, family: embeds ? "nomic-bert" : "llama",
      parameterSize: embeds ? "137M" : "3.2B", capabilities: embeds ? ["embedding"] : ["completion", "tools"])
  }

  init(copying other: StoredModel, to name: ModelName) {
    self.init(
      name, size: other.size, family: other.family, parameterSize: other.parameterSize,
      capabilities: other.capabilities)
    digest = other.digest
    quantization = other.quantization
    system = other.system
  }

  /// Reads what ``manifest`` wrote; nil when it is something else.
  init?(manifest: JSON) {
    guard let text = manifest["name"]?.string, let name = ModelName(text), let digest = manifest["digest"]?.string,
      let size = manifest["size"]?.integer, let capabilities = manifest["capabilities"]?.array
    else { return nil }
    self.init(
      name, size: size, family: manifest["family"]?.string ?? "llama",
      parameterSize: manifest["parameter_size"]?.string ?? "1B", capabilities: capabilities.compactMap(\.string))
    self.digest = digest
    modifiedAt = manifest["modified_at"]?.string ?? modifiedAt
    quantization = manifest["quantization_level"]?.string ?? quantization
    system = manifest["system"]?.string ?? ""
  }

  var manifest: JSON {
    [
      "name": .string(name.description), "digest": .string(digest), "size": .integer(size),
      "modified_at": .string(modifiedAt), "family": .string(family), "parameter_size": .string(parameterSize),
      "quantization_level": .string(quantization), "capabilities": .array(capabilities.map { .string($0) }),
      "system": .string(system),
    ]
  }

  var details: JSON {
    [
      "parent_model": "", "format": "gguf", "family": .string(family), "families": [.string(family)],
      "parameter_size": .string(parameterSize), "quantization_level": .string(quantization),
    ]
  }

  /// The entry in `/api/tags`.
  var listEntry: JSON {
    [
      "name": .string(name.description), "model": .string(name.description), "modified_at": .string(modifiedAt),
      "size": .integer(size), "digest": .string(digest), "capabilities": .array(capabilities.map { .string($0) }),
      "details": details,
    ]
  }

  /// The entry in `/v1/models`.
  var openAIEntry: JSON { openAIEntry(id: name.description) }

  func openAIEntry(id: String) -> JSON {
    ["id": .string(id), "object": "model", "created": 1_767_225_600, "owned_by": .string(name.namespace)]
  }

  /// The answer of `/api/show`.
  var description: JSON {
    [
      "modelfile": .string("# Modelfile of a simulated model\nFROM \(name)\n"), "parameters": "stop \"<|end|>\"",
      "template": "{{ .Prompt }}", "system": system.isEmpty ? nil : .string(system), "details": details,
      "model_info": [
        "general.architecture": .string(family), "general.parameter_count": .integer(size * 2),
        "\(family).context_length": 131_072, "\(family).embedding_length": .integer(Self.embeddingLength),
      ], "capabilities": .array(capabilities.map { .string($0) }), "modified_at": .string(modifiedAt),
    ]
  }
}
