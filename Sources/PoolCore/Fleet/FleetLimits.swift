/// Bounds of the supervision, from the configuration.
package struct FleetLimits: Hashable, Sendable {
  package var restarts = Restarts.Limits()
  /// From the unit running to the dispatcher's "healthy"; beyond, it is killed and counts as failed.
  package var startTimeout: Duration = .seconds(300)
  /// For how long an instance may be unhealthy for a reason that can pass before it is replaced.
  package var unhealthyGrace: Duration = .seconds(5)

  /// Bytes that others may hold of a GPU that still counts as free, such as a desktop's.
  package var busyMemory = 1 << 30
  /// How long a start waits for the memory that an instance left to be free.
  package var settleTime: Duration = .seconds(15)
  /// Whether an instance leaves its GPU when others begin to use it.
  package var yieldToOthers = false
  /// For so long others must have used the GPU before it is left to them, and have been gone before it is taken back.
  package var yieldAfter: Duration = .seconds(10)
  /// Whether an instance that has GPUs may compute on the CPU.
  package var allowCPU = false
  /// For so long models may be said to be on a GPU where the driver sees nobody. Longer than what the dispatcher says
  /// of a model can be out of date (`DispatchLimits.listLifetime`): one that was unloaded has left the driver's list
  /// first.
  package var unseenFor: Duration = .seconds(75)
  /// For so long instances may finish what they have begun on a GPU that needs a reset.
  package var faultDrain: Duration = .seconds(30)
  /// For so long a GPU whose trouble is over must stay well, the first time: see `GPUTroubles`.
  package var steady: Duration = .seconds(10)
  /// The only models that the pool is configured to serve, also in placements that can't be at present; nil for any.
  package var servedModels: Set<String>?
  /// Why the model store must not be changed through the pool; nil where it owns the store.
  package var storeRefusal: String?
  /// Whether only the instance that writes the model store has a way out to the network.
  package var networkIsForWriterOnly = false

  /// What each instance loads before it is ready, by normalised names, as far as it serves them.
  package var preload: [String] = []
  /// Whether models are read into memory before instances load them.
  package var readsAhead = false

  /// Whether an instance may write the model store.
  package var storeIsOwned: Bool { storeRefusal == nil }

  package init() {}
}
