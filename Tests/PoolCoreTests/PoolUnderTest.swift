import OrderedCollections
import PoolCore
import Testing

/// A dispatcher's core with instances that are ready, and a record of what it ordered.
struct PoolUnderTest {
  var dispatch: Dispatch
  var now = Instant.zero
  var started: [UInt64] = []
  var places: [String] = []
  var withdrawn: [UInt64] = []
  var ended: [UInt64: RequestOutcome] = [:]
  var retryAfter: [UInt64: Duration] = [:]
  /// The priority that age has lifted each into.
  var lifted: [UInt64: Int] = [:]
  var loads: [String] = []
  /// Instances that were asked what they hold, and have not answered.
  var asked: [InstanceID] = []
  var reports: [DispatchReport] = []
  private var probes: [(InstanceID, InvocationID)] = []
  private let wanted: [WantedInstance]
  /// Those that the placements are for; nil for any.
  var servedModels: Set<String>?

  init(
    instances: Int, slots: Int = 1, roles: [WantedInstance.Role] = [], models: [[String]] = [],
    writer: Int? = nil, haveGPUs: Bool = true, limits: DispatchLimits = DispatchLimits()
  ) {
    dispatch = Dispatch(limits: limits)
    wanted = (0..<instances).map {
      WantedInstance(
        id: InstanceID("gpu\($0)"), invocation: InvocationID("i\($0)"), address: "127.0.0.1:\(11500 + $0)",
        gpus: haveGPUs ? ["GPU-\($0)"] : [], slots: slots, models: $0 < models.count ? models[$0] : [],
        writesStore: writer == nil ? nil : writer == $0,
        role: $0 < roles.count ? roles[$0] : .core)
    }
    if !wanted.isEmpty, wanted.allSatisfy({ !$0.models.isEmpty }) { servedModels = Set(wanted.flatMap(\.models)) }
    set(session: 1)
    answerProbes()
  }

  mutating func set(session: UInt64, order: [Int]? = nil) {
    let set = (order ?? Array(wanted.indices)).map { wanted[$0] }
    perform(dispatch.setInstances(WantedSet(set, models: servedModels), session: session, at: now))
    perform(dispatch.tick(at: now, progress: { _ in nil }))
  }

  /// - Parameters:
  ///   - roles: by the instances' numbers; absent means core.
  ///   - writer: the number of the instance through which the model store is to be changed; nil for the same as before.
  mutating func set(session: UInt64, roles: [Int: WantedInstance.Role] = [:], writer: Int? = nil) {
    var set = wanted
    for (number, role) in roles { set[number].role = role }
    if let writer { for number in set.indices { set[number].writesStore = number == writer } }
    perform(dispatch.setInstances(WantedSet(set, models: servedModels), session: session, at: now))
  }

  mutating func retire(_ id: InstanceID, _ invocation: InvocationID) -> Dispatch.RetireAnswer {
    let (answer, actions) = dispatch.retire(id, invocation, session: 1, at: now)
    perform(actions)
    return answer
  }

  mutating func refuseStore(session: UInt64) {
    var set = wanted
    for number in set.indices { set[number].writesStore = false }
    perform(dispatch.setInstances(WantedSet(set, storeRefusal: "not here"), session: session, at: now))
  }

  /// - Parameter context: its `num_ctx`.
  mutating func arrive(
    _ number: UInt64, need: DispatchRequest.Need = .slot, _ model: String? = nil, context: Int? = nil,
    streams: Bool = true, share: DispatchRequest.Share = DispatchRequest.Share(), tokens: Int = 0
  ) {
    let request = DispatchRequest(
      id: RequestID(number), need: need, model: model, options: RunnerOptions(contextLength: context), streams: streams,
      share: share, inputTokens: tokens)
    let isAccepted = dispatch.accepts(request, at: now)
    let actions = dispatch.arrive(request, at: now)
    let isRefused = actions.contains { if case .end(request.id, _, _) = $0 { true } else { false } }
    #expect(isAccepted != isRefused, "what is said before \(number) arrives is what becomes of it then")
    perform(actions)
  }

  mutating func begin(_ number: UInt64, status: Int = 200) {
    perform(dispatch.begin(RequestID(number), status: status, at: now))
  }

  mutating func end(
    _ number: UInt64, _ outcome: RequestOutcome = .served, questionTokens: Int = 0, tokens: Int = 0
  ) {
    perform(dispatch.end(RequestID(number), outcome, questionTokens: questionTokens, tokens: tokens, at: now))
  }

  mutating func fail(_ number: UInt64, _ failure: AttemptFailure) -> AttemptVerdict {
    let (verdict, actions) = dispatch.attemptFailed(RequestID(number), failure, at: now)
    perform(actions)
    return verdict
  }

  /// - Parameters:
  ///   - progress: when streams last moved, counted from now before the step.
  ///   - tokens: of their answers so far.
  mutating func advance(_ duration: Duration, progress: [UInt64: Duration] = [:], tokens: [UInt64: Int] = [:]) {
    let before = now
    now = now + duration
    perform(
      dispatch.tick(at: now) { id in
        guard progress[id.number] != nil || tokens[id.number] != nil else { return nil }
        return RequestProgress(
          movedAt: progress[id.number].map { before + $0 } ?? now, answerTokens: tokens[id.number] ?? 0)
      })
  }

  /// The order of service.
  var order: [UInt64] {
    var order = dispatch.order
    return order.waiting.map(\.number)
  }

  mutating func answerProbes() { endProbes { _ in .answered } }
  /// - Parameter silent: which instance does not answer; nil for all.
  mutating func missProbes(of silent: InstanceID? = nil) { endProbes { $0 == silent ?? $0 ? .missed : .answered } }

  private mutating func endProbes(_ result: (InstanceID) -> Dispatch.ProbeResult) {
    let outstanding = probes
    probes = []
    for (id, invocation) in outstanding { perform(dispatch.probeEnded(id, invocation, result(id), at: now)) }
  }

  mutating func loaded(_ model: String, failure: String? = nil) {
    perform(dispatch.loadEnded("gpu0", "i0", model: model, failure: failure, at: now))
  }

  /// What an instance answers to the question what it holds.
  ///
  /// - Parameter models: nil for no answer.
  mutating func list(_ instance: Int = 0, _ models: [LoadedModel]?) {
    asked.removeAll { $0 == InstanceID("gpu\(instance)") }
    perform(
      dispatch.loadedListed(InstanceID("gpu\(instance)"), InvocationID("i\(instance)"), models, at: now))
  }

  mutating func perform(_ actions: [DispatchAction]) {
    for action in actions {
      switch action {
      case .start(let id, let instance):
        started.append(id.number)
        places.append(instance.name)
      case .withdraw(let id): withdrawn.append(id.number)
      case .end(let id, let outcome, let pause):
        ended[id.number] = outcome
        retryAfter[id.number] = pause
      case .lifted(let id, let priority): lifted[id.number] = priority
      case .probe(let id, let invocation): probes.append((id, invocation))
      case .load(_, _, let model): loads.append(model)
      case .askLoaded(let id, _): asked.append(id)
      case .report(let report): reports.append(report)
      }
    }
  }
}
