import OrderedCollections
import PoolCore

/// A workload on the very `Dispatch` and `Fleet` that production runs, in virtual time: who waits how long, what it
/// costs, and how well the waits were foreseen.
///
/// Nothing fails here, and nothing takes time between the daemons: see ``PoolSimulation`` for misfortune.
package struct Replay: Sendable {
  package let settings: ReplaySettings
  let requests: [WorkloadRequest]
  /// Whether it matters which model an instance has in memory. Of a single one all have it once they are ready.
  private let knowsModels: Bool
  var policy: (any ScalingPolicy)?
  var now = Instant.zero
  /// Of the first arrival at the earliest.
  let began: Instant
  private var arrived = 0
  private var events = EventQueue<Event>()
  var dispatch: Dispatch
  var fleet: Fleet
  private var pacing = PushPacing()
  private var pushDue: Instant?
  private var tickDue: Instant?
  /// When it was last told something, with which it looked at everything; nil before.
  private var supervisorToldAt: Instant?
  /// By the number of their GPU.
  private var instances: [SimulatedInstance?]
  private let numbers: [InstanceID: Int]
  /// Which instance computes a request, by the request's number.
  private var places: [Int?]
  private var random: SeededGenerator
  private var lives = 0
  private var ended = 0
  package private(set) var log: ReplayLog

  private enum Event: Sendable {
    // With numbers alone, which are moved about in the queue of events for nothing.
    case instanceSteps(Int, life: Int, version: Int)
    case unitStarts(Int)
    case becomesReady(Int, life: Int)
    case unitEnds(Int, life: Int)
    case dispatcherTicks
    case supervisorTicks
    case pushIsDue
    case policyDecides
  }

  /// - Parameter policy: nil for the pool's own rule.
  package init(_ workload: Workload, _ settings: ReplaySettings, policy: (any ScalingPolicy)? = nil) {
    self.settings = settings
    self.policy = policy
    requests = workload.requests
    knowsModels = workload.hasSeveralModels
    began = .zero + settings.warmUp
    random = SeededGenerator(seed: settings.seed)
    instances = Array(repeating: nil, count: settings.gpus)
    places = Array(repeating: nil, count: requests.count)
    numbers = Dictionary(uniqueKeysWithValues: (0..<settings.gpus).map { (Self.id(of: $0), $0) })
    dispatch = Dispatch(limits: settings.dispatchLimits)
    var scaling = settings.scaling
    // Another policy's word counts at once.
    if policy != nil { scaling.idleHold = .zero }
    fleet = Fleet(scaling: scaling)
    log = ReplayLog(requests: requests.count, began: began)
  }

  /// - Parameter progress: is told now and then which part of the requests has ended, from 0 to 1.
  package mutating func run(progress: (Double) -> Void = { _ in }) {
    let placements = (0..<settings.gpus).map {
      Placement(id: Self.id(of: $0), gpus: ["GPU-\($0)"], slots: settings.slots, models: [], specification: "")
    }
    apply { $0.placementsChanged(placements, at: $1) }
    apply { $0.began(found: [:], at: $1) }
    apply { $0.dispatcherConnected(at: $1) }
    if policy != nil { events.schedule(.policyDecides, at: now) }
    schedulePush()
    scheduleTick()
    let end = requests.last.map { began + ($0.arrival - .zero) + ReplaySettings.longestAftermath } ?? began
    var told = 0
    while ended < requests.count, let time = nextTime, time <= end {
      step(at: time)
      guard ended - told >= 1_000 else { continue }
      told = ended
      progress(Double(ended) / Double(requests.count))
    }
    log.finish(at: now)
  }

  private var nextArrival: Instant? {
    arrived < requests.count ? began + (requests[arrived].arrival - .zero) : nil
  }

  private var nextTime: Instant? {
    guard let arrival = nextArrival, let event = events.nextTime else { return nextArrival ?? events.nextTime }
    return min(arrival, event)
  }

  private mutating func step(at time: Instant) {
    if let arrival = nextArrival, events.nextTime.map({ arrival <= $0 }) ?? true {
      now = time
      return arrive()
    }
    guard let (time, event) = events.next() else { return }
    now = time
    switch event {
    case .instanceSteps(let number, let life, let version):
      guard let instance = instances[number], instance.life == life, instance.version == version else { return }
      step(number)
    case .unitStarts(let number): start(number)
    case .becomesReady(let number, let life):
      apply(dispatch: { $0.probeEnded(Self.id(of: number), Self.invocation(of: life), .answered, at: $1) })
    case .unitEnds(let number, let life):
      instances[number] = nil
      log.left(at: now)
      apply { $0.unitEnded(Self.id(of: number), Self.invocation(of: life), reason: "stopped", at: $1) }
    case .dispatcherTicks:
      guard tickDue == now else { return }
      tickDue = nil
      tick()
    case .supervisorTicks:
      guard let told = supervisorToldAt else { return }
      let due = told + Self.supervisorPeriod
      events.schedule(.supervisorTicks, at: due > now ? due : now + Self.supervisorPeriod)
      if due <= now { apply { $0.tick(at: $1) } }
    case .pushIsDue:
      guard pushDue == now else { return }
      pushDue = nil
      push()
    case .policyDecides: decide()
    }
  }

  // MARK: Requests

  private mutating func arrive() {
    let number = arrived
    let id = RequestID(UInt64(number + 1))
    let request = requests[number]
    arrived += 1
    let share = DispatchRequest.Share(user: request.user, priority: request.priority)
    let asked = DispatchRequest(id: id, model: model(of: request), share: share, inputTokens: request.inputTokens)
    apply(dispatch: { $0.arrive(asked, at: $1) })
    // It starts at once, or was refused.
    guard case .waiting = dispatch.requests[id]?.phase else { return }
    log.foresaw(number, dispatch.estimate(for: id, at: now))
  }

  private func model(of request: WorkloadRequest) -> String? { knowsModels ? request.model : nil }

  private mutating func step(_ number: Int) {
    switch instances[number]?.step(at: now) {
    case .loaded:
      log.loaded(at: now)
      endLoad(on: Self.id(of: number))
    case .firstByte(let request): apply(dispatch: { $0.begin(request, status: 200, at: $1) })
    case .end(let request):
      places[Self.number(of: request)] = nil
      let tokens = requests[Self.number(of: request)].outputTokens
      finish(request, .served)
      apply(dispatch: { $0.end(request, .served, tokens: tokens, at: $1) })
    case nil: break
    }
    foresee(number)
  }

  private mutating func foresee(_ number: Int) {
    guard let instance = instances[number], let next = instance.nextStep else { return }
    events.schedule(
      .instanceSteps(number, life: instance.life, version: instance.version), at: max(now, next))
  }

  private static func number(of id: RequestID) -> Int { Int(id.number) - 1 }
  private static func id(of number: Int) -> InstanceID { InstanceID("gpu\(number)") }
  private static func invocation(of life: Int) -> InvocationID { InvocationID("life\(life)") }

  private mutating func finish(_ id: RequestID, _ outcome: RequestOutcome) {
    ended += 1
    log.ended(Self.number(of: id), outcome, at: now)
  }

  // MARK: The dispatcher

  private mutating func apply(dispatch event: (inout Dispatch, Instant) -> [DispatchAction]) {
    let before = dispatch.revision
    for action in event(&dispatch, now) { perform(action) }
    if tickDue == nil { scheduleTick() }
    guard dispatch.revision != before else { return }
    pacing.changed()
    schedulePush()
  }

  private mutating func perform(_ action: DispatchAction) {
    switch action {
    case .start(let id, let instance):
      let number = Self.number(of: id)
      let request = requests[number]
      let model = model(of: request)
      log.started(number, at: now)
      guard let place = numbers[instance] else { return }
      places[number] = place
      if instances[place]?.begin(id, request, model: model, at: now) == true { log.awaitedModel(number) }
      foresee(place)
    case .withdraw(let id): drop(id)
    case .end(let id, let outcome, _):
      drop(id)
      finish(id, outcome)
    case .load(let id, _, let model): load(model, on: id)
    case .askLoaded(let id, let invocation):
      guard knowsModels, let number = numbers[id], let loaded = instances[number]?.loaded else { return }
      apply(dispatch: { $0.loadedListed(id, invocation, loaded, at: $1) })
    // What is asked of an instance is answered when it is ready; after that nothing of the kind happens.
    case .probe, .lifted, .report: break
    }
  }

  // MARK: Models under `preload`

  /// What is loaded before an instance is ready is a part of its cold start.
  private mutating func load(_ model: String, on id: InstanceID) {
    guard let number = numbers[id] else { return }
    if dispatch.instances[id]?.readyAt == nil {
      instances[number]?.hold(Dispatch.key(ofPreload: model))
    } else {
      instances[number]?.load(Dispatch.key(ofPreload: model), at: now)
      foresee(number)
    }
    endLoad(on: id)
  }

  /// Tells the dispatcher, once what it has loaded is there.
  private mutating func endLoad(on id: InstanceID) {
    guard let number = numbers[id], let instance = dispatch.instances[id], let model = instance.loading,
      instances[number]?.holds(Dispatch.key(ofPreload: model)) == true
    else { return }
    apply(dispatch: { $0.loadEnded(id, instance.wanted.invocation, model: model, failure: nil, at: $1) })
  }

  private mutating func drop(_ id: RequestID) {
    guard let place = places[Self.number(of: id)].take() else { return }
    instances[place]?.drop(id, at: now)
    foresee(place)
  }

  private mutating func tick() {
    let (instances, places) = (instances, places)
    apply(dispatch: { dispatch, now in
      dispatch.tick(at: now) { id in
        places[Self.number(of: id)].map {
          RequestProgress(movedAt: now, answerTokens: instances[$0]?.tokens(of: id, at: now) ?? 0)
        }
      }
    })
  }

  private mutating func scheduleTick() {
    let due = max(dispatch.nextTick(at: now), now + .milliseconds(1))
    if let tickDue, tickDue <= due { return }
    tickDue = due
    events.schedule(.dispatcherTicks, at: due)
  }

  private mutating func schedulePush() {
    let due = max(now, pacing.nextPush(at: now))
    if let pushDue, pushDue <= due { return }
    pushDue = due
    events.schedule(.pushIsDue, at: due)
  }

  private mutating func push() {
    pacing.pushed(at: now)
    let observation = dispatch.observation(at: now)
    let before = dispatch.revision
    dispatch.startNewPeak()
    if dispatch.revision != before { pacing.changed() }
    schedulePush()
    log.saw(waiting: observation.depth, at: now)
    apply { $0.observed(observation, at: $1) }
  }

  // MARK: The supervisor

  private mutating func apply(_ event: (inout Fleet, Instant) -> [FleetAction]) {
    if !settings.scaling.schedule.isEmpty {
      fleet.scaler.localTime = settings.startsAt.advanced(by: max(.zero, now - began))
    }
    let actions = event(&fleet, now)
    if supervisorToldAt == nil { events.schedule(.supervisorTicks, at: now + Self.supervisorPeriod) }
    supervisorToldAt = now
    for action in actions { perform(action) }
  }

  /// Whatever happens, all is looked at anew; only after so long without anything it takes a tick.
  private static let supervisorPeriod: Duration = .seconds(1)

  private mutating func perform(_ action: FleetAction) {
    switch action {
    case .start(let id, _):
      log.ordered(at: now)
      if let number = numbers[id] { events.schedule(.unitStarts(number), at: now + ReplaySettings.unitStart) }
    case .stop(let id, _, _):
      log.stopped(at: now)
      guard let number = numbers[id], let life = instances[number]?.life else { return }
      events.schedule(.unitEnds(number, life: life), at: now + ReplaySettings.unitStop)
    case .setInstances(let set):
      apply(dispatch: { $0.setInstances(set, session: 1, at: $1) })
      // What is new is probed before the next second.
      scheduleTick()
    case .retire(let id, let invocation):
      var answer = Dispatch.RetireAnswer.unknown
      apply(dispatch: {
        let (given, actions) = $0.retire(id, invocation, session: 1, at: $1)
        answer = given
        return actions
      })
      apply { $0.retireAnswered(id, invocation, answer, at: $1) }
    case .report(.targetChanged(_, let target, _, _, _, _)): log.aimed(at: target, now)
    case .openNetwork, .readAhead, .report: break
    }
  }

  private mutating func start(_ number: Int) {
    let id = Self.id(of: number)
    apply { $0.startBegins(id, at: $1) }
    guard case .launching(let placement, _) = fleet.placements[id]?.life else { return log.left(at: now) }
    lives += 1
    let (life, invocation) = (lives, Self.invocation(of: lives))
    instances[number] = SimulatedInstance(
      life: life, speed: settings.speed, loadedModels: settings.loadedModels, loadTime: settings.loadTime, at: now)
    let unit = RunningInstance.Unit(
      invocation: invocation, mainPID: 1, address: "127.0.0.1:1", specification: placement.specification,
      gpus: placement.gpus, slots: placement.slots)
    let coldStart = settings.shortestColdStart...max(settings.shortestColdStart, settings.coldStart.upperBound)
    events.schedule(
      .becomesReady(number, life: life), at: now + random.duration(coldStart) - ReplaySettings.unitStart)
    apply { $0.unitStarted(id, unit, at: $1) }
    // Only what has missed one is a cold start.
    apply(dispatch: { $0.probeEnded(id, invocation, .missed, at: $1) })
  }

  private mutating func decide() {
    guard var policy else { return }
    let view = ScalingView(
      waiting: dispatch.queue.count, inFlight: dispatch.inFlight, ready: fleet.ready,
      starting: fleet.starting + fleet.launching, slots: settings.slots, gpus: settings.gpus)
    let target = min(settings.gpus, max(0, policy.target(view, at: .zero + (now - began))))
    self.policy = policy
    events.schedule(.policyDecides, at: now + policy.period)
    apply { $0.setScale(minimum: target, maximum: target, until: nil, at: $1) }
  }
}
