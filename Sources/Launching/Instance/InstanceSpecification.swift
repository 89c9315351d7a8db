package import GPUInventory
package import PoolConfiguration
package import PoolCore

/// All that an instance is started with, but its port.
package struct InstanceSpecification: Sendable, Equatable {
  /// How long an instance may take from SIGTERM to its end before it is killed. Ollama takes some hundredths of a
  /// second: it drains nothing.
  package static let stopGrace = Duration.seconds(10)

  package var id: InstanceID
  /// Empty for the CPU.
  package var gpus: [GPU.Pin]
  package var executable: OllamaExecutable
  /// OLLAMA_NUM_PARALLEL.
  package var slots: Int
  /// OLLAMA_MODELS; nil: below the home of the instances' user.
  package var modelsPath: String?
  package var contextLength: Int?
  package var keepAlive: KeepAlive?
  /// Whether the model store is the pool's to change, see ``ModelStore/isOwned``. One that is not is read only.
  package var ownsStore = true
  /// Whether it may tidy the model store up when it starts: only where no other instance of the pool runs, else it
  /// would delete what a pull through that one has fetched so far. Nobody tidies up a store that is not the pool's.
  package var prunesStore = false
  /// Numbers of the CPUs that it may run on, those beside its GPUs; empty: any. What is offline when it starts is left
  /// out.
  package var cpus: [Int] = []
  /// The NUMA nodes of its GPUs. The memory of a single one is preferred; several, or none, leave it to the kernel.
  package var numaNodes: [Int] = []
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
  ///   - inherited: the pool's own variables, of which some reach its instances, see ``InheritedVariables``.
  ///   - store: where the models are.
  package static func make(
    _ placement: Placement, on gpus: [GPU], environment: [String: String] = [:],
    inherited: [String: String] = InheritedVariables.own, settings: Settings, store: ModelStore,
    ollama: OllamaExecutable
  ) -> InstanceSpecification {
    let configured = settings.environment.merging(environment) { $1 }
    return InstanceSpecification(
      id: placement.id,
      gpus: gpus.map(\.pin), executable: ollama, slots: placement.slots,
      modelsPath: store.variable,
      contextLength: settings.contextLength, keepAlive: settings.keepAlive, ownsStore: store.isOwned,
      extraEnvironment: InheritedVariables.of(inherited, besides: configured).merging(configured) { $1 },
      user: settings.instanceUser, memoryMax: settings.memoryMax)
  }

  package var gpuNames: [String] { gpus.map(\.uuid) }

  /// The nodes that it may open, each once.
  package var deviceNodes: [String] { Set(gpus.flatMap(\.deviceNodes)).sorted() }

  /// Whether device rules can keep it from all GPUs but its own. Where the nodes of one aren't known, they would close
  /// that one as well, and the instance would compute on the CPU without a word.
  var hidesOtherGPUs: Bool { gpus.allSatisfy { !$0.deviceNodes.isEmpty } }

  /// Where its models are.
  func storePath(home: String) -> String { modelsPath ?? ModelStore.usualPath(home: extraEnvironment["HOME"] ?? home) }

  /// How much of a specification is certain. Each has all of those before it.
  package enum Certainty: Sendable, Comparable {
    /// All but what drivers tell of its GPUs: but for their names.
    case withoutPins
    /// All but which CPUs and which memory are near its GPUs.
    case pinned
    case all
  }

  /// Names this specification: 48 hexadecimal digits that change with anything but the port, and but for what else runs
  /// when it starts.
  package var digest: String { digest(.all) }

  /// As much of ``digest`` as is certain: its beginning, of 16, 32 or 48 digits.
  package func digest(_ certainty: Certainty) -> String {
    let parts = [(Certainty.withoutPins, unpinned), (.pinned, pinned), (.all, near)]
    return parts.filter { $0.0 <= certainty }.map(\.1.hexadecimal).joined()
  }

  private var unpinned: Fingerprint {
    var fingerprint = Fingerprint()
    for (name, value) in environment(hidingOtherGPUs: false) where !Self.pinNames.contains(name) {
      fingerprint.add(name)
      fingerprint.add(value)
    }
    for text in [
      id.name, executable.path, String(executable.identity.size), String(executable.identity.modified),
      String(executable.identity.inode), user ?? "", memoryMax.map { String($0.bytes) } ?? "",
    ] + gpuNames {
      fingerprint.add(text)
    }
    // Only where there is something to say, so that a version that did not know it has the same digest.
    if !ownsStore { fingerprint.add("a store of others") }
    return fingerprint
  }

  private var pinned: Fingerprint {
    var fingerprint = Fingerprint()
    for (name, value) in environment(hidingOtherGPUs: false) where Self.pinNames.contains(name) {
      fingerprint.add(name)
      fingerprint.add(value)
    }
    for node in deviceNodes { fingerprint.add(node) }
    return fingerprint
  }

  private var near: Fingerprint {
    var fingerprint = Fingerprint()
    fingerprint.add("\(Set(cpus).sorted())")
    fingerprint.add("\(Set(numaNodes).sorted())")
    return fingerprint
  }

  private static let pinNames = Set(pins(of: [], othersAreHidden: false).keys)
}
