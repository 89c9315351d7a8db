/// Why an instance gets no work although it is wanted.
package enum UnhealthyReason: Hashable, Sendable {
  /// So many probes in a row had no answer.
  case unreachable(missedProbes: Int)
  /// It took no connection of a request.
  case refusing
  /// It failed so many requests in a row that another instance then served, or gave them no answer at all.
  case erring(requests: Int)
  /// A stream that had begun said nothing for so long, while nothing held the client back.
  case stalled(Duration)
  /// No first byte within the limit, which includes a load.
  case silent(Duration)
  /// A model under `preload` could not be loaded.
  case loadFailed(model: String, message: String)

  /// What becomes of the instance, from the mildest on.
  package enum Consequence: Comparable, Sendable {
    /// Its requests are taken away, and it may come back: when it answers a probe.
    case pause
    /// Only a new process is believed again. What it has begun may end well, and is left to it.
    case finish
    /// Only a new process is believed again, and its requests are taken away.
    case end
  }

  package var consequence: Consequence {
    switch self {
    case .unreachable, .refusing: .pause
    case .erring: .finish
    case .stalled, .silent, .loadFailed: .end
    }
  }

  package var isFinal: Bool { consequence > .pause }
}

extension UnhealthyReason: CustomStringConvertible {
  package var description: String {
    switch self {
    case .unreachable(let probes): "\(probes) probes in a row had no answer"
    case .refusing: "a connection to it was refused"
    case .stalled(let limit): "a stream stood still for \(limit.seconds) s"
    case .silent(let limit): "no first byte within \(limit.seconds) s"
    case .erring(let requests): "\(requests) requests in a row failed here alone"
    case .loadFailed(let model, let message): "model \(model) could not be loaded: \(message)"
    }
  }
}

/// The dispatcher's judgement of an instance.
package enum InstanceHealth: Hashable, Sendable {
  /// Registered; has not answered a probe yet, or loads the models under `preload`. Goes to healthy or unhealthy.
  case starting
  /// Answers, has its models, and its streams move. Goes to unhealthy.
  case healthy
  /// Gets no work. Goes to healthy by an answered probe unless the reason is final.
  case unhealthy(UnhealthyReason, since: Instant)
}

/// The dispatcher's record of one life of an instance.
package struct DispatchedInstance: Hashable, Sendable {
  package var wanted: WantedInstance
  package var health: InstanceHealth = .starting
  package var registeredAt: Instant
  package var firstAnswerAt: Instant?
  package var readyAt: Instant?
  /// Whether it was seen not to answer yet, and has not failed since: then it tells how long a start takes.
  var isColdStart = false
  /// Requests that hold a slot. The counts are derived from these sets, so none can leak.
  package var leases: Set<RequestID> = []
  /// Of these, those whose answer has not begun.
  package var unbegun: Set<RequestID> = []
  /// Requests that go straight through, without a slot.
  package var references: Set<RequestID> = []
  /// Since when it has held neither.
  package var idleSince: Instant
  /// The control session that retired it; it gets no work until another session wants it again.
  package var retiredBy: UInt64?

  /// What it holds in memory, as it told last, by name; nil where it has not lately.
  package internal(set) var loaded: [LoadedModel]?
  /// The same as far as the dispatcher may rely on it, by the models' normalised names.
  package internal(set) var held: [String: HeldModel] = [:]

  var probe = Probe()
  var list = List()
  /// Models still to be loaded before it is ready, first to last.
  var toLoad: [String] = []
  /// The model under `preload` that it is loading.
  package internal(set) var loading: String?
  /// Since when.
  var loadingSince: Instant?
  /// What it loaded before it was ready.
  package internal(set) var loads: [TimedLoad] = []
  var preloads: [String: Preload] = [:]
  var failures = Failures()

  /// Inference that it failed; any that it answers makes an end of the count.
  struct Failures: Hashable, Sendable {
    /// Requests that it failed and another one served, or that had no answer at all.
    var inARow = 0
    /// When it last answered, or last failed what is counted here.
    var since: Instant?
  }

  /// Timers are data: when to ask again, and whether an answer is outstanding.
  struct Probe: Hashable, Sendable {
    var due: Instant = .zero
    var isOutstanding = false
    var missed = 0
  }

  /// The same for the question what it holds in memory.
  struct List: Hashable, Sendable {
    var due: Instant = .zero
    /// When the outstanding question was asked.
    var askedAt: Instant?
    /// Something happened since, so that the answer may not tell all.
    var isOvertaken = false
    /// When it last answered.
    var answeredAt: Instant?
  }

  /// What became of a model under `preload` after its load.
  struct Preload: Hashable, Sendable {
    var loadedAt: Instant?
    /// Whether what the instance listed after the load has been looked at.
    var wasSeen = false
    /// Whether it is to be loaded again, not before `due`.
    var isMissing = false
    var due: Instant = .zero
    /// From the last load to the one after the next eviction.
    var pause: Duration = .zero
  }

  /// From its registration to its first 200.
  package var firstAnswerAfter: Duration? { firstAnswerAt.map { $0 - registeredAt } }

  var isHealthy: Bool { health == .healthy }

  /// Whether it may get work at all. What drains or was retired may not.
  package var isInRotation: Bool {
    isHealthy && retiredBy == nil && (wanted.role == .core || wanted.role == .surplus)
  }

  package var freeSlots: Int { isInRotation ? max(0, wanted.slots - leases.count) : 0 }

  package var isIdle: Bool { leases.isEmpty && references.isEmpty }

  /// All that it has. Nearly always one of the two sets is empty, and nothing is made anew.
  var requests: Set<RequestID> { references.isEmpty ? leases : leases.union(references) }

  func serves(_ model: String?) -> Bool { wanted.serves(model) }
}
