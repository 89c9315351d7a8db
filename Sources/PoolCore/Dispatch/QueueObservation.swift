/// What the dispatcher tells of itself: the state, not what changed, so that a push that is lost loses nothing.
/// The supervisor scales by it, `status` shows it. Durations instead of times, since clocks of two processes differ.
package struct QueueObservation: Hashable, Sendable {
  /// Requests that wait, for a slot or for any instance at all.
  package var depth = 0
  package var oldestWait: Duration?
  /// Requests that hold a slot.
  package var inFlight = 0
  /// The most slots that were wanted at once since the last push, the present ones among them. What waits for any
  /// instance and for no slot wants one.
  package var peakDemand = 0
  package var arrivals = 0
  package var completions = 0
  /// Waiting requests of front ends with a queue of their own.
  package var outsideDepth = 0
  package var maxConcurrent = 0
  /// Models that requests wait for, with how many there are of each; by the empty name those that name none.
  package var waitingByModel: [String: Int] = [:]
  package var isDraining = false
  package var instances: [InstanceObservation] = []

  package init() {}

  /// n of the scaling rule: requests that want a slot now, at their peak since the last push.
  package var demand: Int { peakDemand + outsideDepth }
}

package struct InstanceObservation: Hashable, Sendable {
  package enum Health: Hashable, Sendable {
    case starting
    case healthy
    /// For so long already; `isFinal`: only a new process is believed again.
    case unhealthy(reason: String, isFinal: Bool, since: Duration)
  }

  package var id: InstanceID
  package var invocation: InvocationID
  package var health: Health
  package var leases: Int
  package var references: Int
  /// Of the references, those that change the model store.
  package var writes: Int
  /// For how long it has held neither lease nor reference; nil while it holds one.
  package var idle: Duration?
  package var isRetired: Bool
  /// From its registration to the first 200, and to its models being loaded.
  package var firstAnswerAfter: Duration?
  package var readyAfter: Duration?
  /// What it loaded before it was ready.
  package var loads: [TimedLoad]
  /// What it holds in memory; nil where it has not said so yet.
  package var loaded: [LoadedModel]?

  package init(
    id: InstanceID, invocation: InvocationID, health: Health, leases: Int = 0, references: Int = 0, writes: Int = 0,
    idle: Duration? = nil, isRetired: Bool = false, firstAnswerAfter: Duration? = nil, readyAfter: Duration? = nil,
    loads: [TimedLoad] = [], loaded: [LoadedModel]? = nil
  ) {
    self.id = id
    self.invocation = invocation
    self.health = health
    self.leases = leases
    self.references = references
    self.writes = writes
    self.idle = idle
    self.isRetired = isRetired
    self.firstAnswerAfter = firstAnswerAfter
    self.readyAfter = readyAfter
    self.loads = loads
    self.loaded = loaded
  }
}
