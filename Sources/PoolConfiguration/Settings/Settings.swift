import PoolCore

/// Everything that an operator can configure, with its default.
///
/// `Settings()` is the configuration of a pool without a file. `nil` means what the file says as `auto`, `none`, `all`
/// or `off`; each property says which. Names are those of the file in camel case; `SettingsKeys` holds the
/// bounds and the file's forms, and `config/ollama-pool.yaml` says why one would change a value.
package struct Settings: Sendable, Equatable {
  /// Where the pool answers as Ollama does. At least one.
  package var listen = [ListenAddress.loopback(port: 11434)]

  /// Whether a listener may be reachable from beyond this machine without authentication.
  package var allowOpenListener = false

  /// Browser origins that may use the endpoint besides the local ones, such as `https://chat.example.org`.
  package var origins: [String] = []

  package var access = AccessSettings()

  /// What each class of users is entitled to, by its name.
  package var classes = ClassSettings.builtIn

  /// What is settled for single users whom a trusted proxy names.
  package var users: [String: UserSettings] = [:]

  /// Where metrics, `/healthz` and `/readyz` are served; `nil` (`off`): nowhere.
  package var metricsListen: ListenAddress? = .loopback(port: 11435)

  /// What starts the instances.
  package var launcher = LauncherChoice.auto

  /// Absolute path of the `ollama` executable; `nil` (`auto`): PATH, then the usual places.
  package var ollama: String?

  /// The user that instances run as; `nil` (`auto`): `ollama` if that user exists, else `ollama-pool-instance`.
  package var instanceUser: String?

  /// The first of ``instancePortSpan`` ports; placement n gets this plus n, and each failed start moves on among them.
  package var instancePorts: UInt16 = 11500

  /// Requests that one instance works on at the same time (OLLAMA_NUM_PARALLEL).
  package var slots = 1

  /// Absolute path of the model store (OLLAMA_MODELS); `nil` (`auto`): the one that this machine's Ollama has, else
  /// that of the instances' user.
  package var modelsPath: String?

  /// Tokens of context (OLLAMA_CONTEXT_LENGTH), the same on all instances; `nil` (`auto`): Ollama decides.
  package var contextLength: Int?

  /// How long an idle model stays loaded (OLLAMA_KEEP_ALIVE); `nil` (`auto`): Ollama decides.
  package var keepAlive: KeepAlive?

  /// Models that are loaded before an instance counts as ready.
  package var preload: [String] = []

  /// Whether models' files are read into memory before an instance loads them.
  package var readAhead = true

  /// Further environment variables of every instance.
  package var environment: [String: String] = [:]

  /// The memory an instance may use (MemoryMax of its unit); `nil` (`none`): no limit.
  package var memoryMax: ByteCount?

  /// What holds for single models, by their names as the file has them.
  package var models: [String: ModelSettings] = [:]

  package var gpus = GPUChoice.auto
  package var placements = PlacementChoice.auto

  /// GPUs of each instance where ``placements`` is `auto`.
  package var gpusPerInstance = 1

  /// Whether an instance keeps to the CPUs and the memory beside its GPUs.
  package var numaBinding = true

  /// GPU memory that must be free before an instance starts; `nil` (`auto`): as much as its models took last.
  package var gpuMemory: ByteCount?

  /// GPU memory that programs of others may hold before a GPU counts as theirs.
  package var busyMemory = ByteCount.mebibytes(1024)

  /// Whether an instance makes room for others that come to its GPU, after they have been there for ``yieldAfter``.
  package var yieldToOthers = false
  package var yieldAfter = Duration.seconds(10)

  /// Whether an instance that has a GPU may compute on the CPU.
  package var allowCPU = false

  package var scaling = ScalingKeys()
  package var queue = QueueSettings()
  package var history = HistorySettings()
  package var chat = ChatSettings()
  package var sources = SourcesSettings()
  package var health = HealthSettings()
  package var restarts = RestartSettings()

  /// How long running streams may go on when the pool stops.
  package var drainTimeout = Duration.seconds(60)

  /// How many ports are kept for instances: one for each placement that there may be.
  package static let instancePortSpan = Placement.most

  package init() {}
}

/// What starts the instances.
package enum LauncherChoice: String, Sendable, CaseIterable {
  /// Transient units where systemd answers (the system manager for root, else the user's), else child processes.
  case auto
  /// Transient units of the system manager.
  case systemd
  /// Transient units of the user's own manager.
  case user
  /// Child processes of the pool.
  case child
}
