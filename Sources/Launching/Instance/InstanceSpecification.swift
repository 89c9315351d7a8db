package import GPUInventory
package import PoolConfiguration
package import PoolCore

/// All that an instance is started with, but its port.
package struct InstanceSpecification: Sendable, Equatable {
  /// A GPU as far as a start needs it; what changes while it works is left out.
  package struct PinnedGPU: Sendable, Equatable {
    package var uuid: String
    package var vendor: GPU.Vendor
    /// Empty where they aren't known.
    package var deviceNodes: [String]

    package init(uuid: String, vendor: GPU.Vendor, deviceNodes: [String]) {
      self.uuid = uuid
      self.vendor = vendor
      self.deviceNodes = deviceNodes
    }
  }

  /// How long an instance may take from SIGTERM to its end before it is killed. Ollama takes some hundredths of a
  /// second: it drains nothing.
  package static let stopGrace = Duration.seconds(10)

  package var id: InstanceID
  /// Empty for the CPU.
  package var gpus: [PinnedGPU]
  package var executable: OllamaExecutable
  /// OLLAMA_NUM_PARALLEL.
  package var slots: Int
  /// OLLAMA_MODELS; nil: below the home of the instances' user.
  package var modelsPath: String?
  package var contextLength: Int?
  package var keepAlive: KeepAlive?
  /// Whether it may tidy the model store up when it starts: only where no other instance of the pool runs, else it
  /// would delete what a pull through that one has fetched so far.
  package var prunesStore = false
  /// Further variables, from the configuration.
  package var extraEnvironment: [String: String]
  /// As configured; nil: see `InstanceAccount`.
  package var user: String?
  package var memoryMax: ByteCount?

  /// The instance of a placement.
  /// - Parameters:
  ///   - placement: its name and slots; its `specification` is what ``digest`` is for, and is not looked at.
  ///   - gpus: those of the placement, in its order.
  ///   - environment: the placement's own variables, which win over `settings.environment`.
  package static func make(
    _ placement: Placement, on gpus: [GPU], environment: [String: String] = [:], settings: Settings,
    ollama: OllamaExecutable
  ) -> InstanceSpecification {
    InstanceSpecification(
      id: placement.id,
      gpus: gpus.map { PinnedGPU(uuid: $0.uuid, vendor: $0.vendor, deviceNodes: $0.deviceNodes) },
      executable: ollama, slots: placement.slots, modelsPath: settings.modelsPath,
      contextLength: settings.contextLength, keepAlive: settings.keepAlive,
      extraEnvironment: settings.environment.merging(environment) { $1 }, user: settings.instanceUser,
      memoryMax: settings.memoryMax)
  }

  /// The nodes that it may open, each once.
  package var deviceNodes: [String] { Set(gpus.flatMap(\.deviceNodes)).sorted() }

  /// Names this specification: 16 hexadecimal digits that change with anything but the port.
  package var digest: String {
    var fingerprint = Fingerprint()
    for (name, value) in environment {
      fingerprint.add(name)
      fingerprint.add(value)
    }
    for text in [
      id.name, executable.path, String(executable.identity.size), String(executable.identity.modified),
      String(executable.identity.inode), user ?? "", memoryMax.map { String($0.bytes) } ?? "",
    ] + deviceNodes {
      fingerprint.add(text)
    }
    return fingerprint.hexadecimal
  }
}
