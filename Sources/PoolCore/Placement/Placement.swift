/// Where an instance may run: a GPU (or several, or none for the CPU), under a name of its own. At most one instance
/// runs in a placement.
package struct Placement: Hashable, Sendable {
  /// More than any machine has places for: bounds what configuration, control socket and ports have room for.
  package static let most = 256

  package var id: InstanceID
  /// UUIDs of its GPUs; empty for the CPU.
  package var gpus: [String]
  /// How many requests its instance serves at once.
  package var slots: Int
  /// Whether its GPUs may have other instances, of placements that say so too.
  package var isShared: Bool
  /// The only models that its instance serves, by their normalised names; empty for any.
  package var models: [String]
  /// A digest of everything that the instance is started with but its port. An instance whose digest does not begin
  /// with it is replaced: it is shorter where only a part is known for certain, and empty where nothing is.
  package var specification: String
  /// Bytes that must be free on its GPUs together before a start; nil for what the models took there last.
  package var neededMemory: Int?

  package init(
    id: InstanceID, gpus: [String], slots: Int = 1, isShared: Bool = false, models: [String] = [],
    specification: String = "", neededMemory: Int? = nil
  ) {
    self.id = id
    self.gpus = gpus
    self.slots = max(1, slots)
    self.isShared = isShared
    self.models = models
    self.specification = specification
    self.neededMemory = neededMemory
  }

  package func serves(_ model: String) -> Bool { models.isEmpty || models.contains(model) }

  /// Whether it serves whatever `other` does.
  func serves(allOf other: Placement) -> Bool {
    models.isEmpty || !other.models.isEmpty && other.models.allSatisfy(models.contains)
  }
}
