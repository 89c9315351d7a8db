/// What `SetInstances` brings, always whole.
package struct WantedSet: Hashable, Sendable {
  package var instances: [WantedInstance]
  /// The only models for which there are placements, whether an instance runs there now or not; nil for any model.
  package var models: Set<String>?
  /// Why the model store must not be changed, as a client is told; nil where it may be.
  package var storeRefusal: String?
  /// Models that are not to be loaded under `preload` yet, since the disk is reading another one's files for now.
  package var awaitingTurn: Set<String>

  package init(
    _ instances: [WantedInstance] = [], models: Set<String>? = nil, storeRefusal: String? = nil,
    awaitingTurn: Set<String> = []
  ) {
    self.instances = instances
    self.models = models
    self.storeRefusal = storeRefusal
    self.awaitingTurn = awaitingTurn
  }
}

/// An instance as the supervisor wants it: one element of a ``WantedSet``.
package struct WantedInstance: Hashable, Sendable {
  package enum Role: String, Hashable, Sendable, CaseIterable {
    /// Gets work first.
    case core
    /// Gets work only when the core is full, so that it runs empty when the load falls.
    case surplus
    /// Finishes what it has, gets nothing new, and no longer counts in `max_concurrent`.
    case draining
    /// Taken out for a fault: as draining.
    case out
  }

  package var id: InstanceID
  package var invocation: InvocationID
  /// Where it listens, as `127.0.0.1:11500`.
  package var address: String
  package var gpus: [String]
  /// How many requests it serves at once; its OLLAMA_NUM_PARALLEL. At least 1.
  package var slots: Int
  /// The only models it serves; empty for any.
  package var models: [String]
  /// Whether what changes the model store goes through it: true of one instance at most; nil where the dispatcher is to
  /// choose.
  package var writesStore: Bool?
  package var role: Role
  /// Why it has this role, in words.
  package var reason: String

  package init(
    id: InstanceID, invocation: InvocationID, address: String, gpus: [String] = [], slots: Int = 1,
    models: [String] = [], writesStore: Bool? = nil, role: Role = .core, reason: String = ""
  ) {
    self.id = id
    self.invocation = invocation
    self.address = address
    self.gpus = gpus
    self.slots = max(1, slots)
    self.models = models
    self.writesStore = writesStore
    self.role = role
    self.reason = reason
  }

  /// - Parameter model: nil where it could not be read.
  package func serves(_ model: String?) -> Bool { models.isEmpty || model.map(models.contains) ?? true }
}
