package import PoolCore

/// What an instance computes, once it has the model: all its answers at once, each at the same rate (processor
/// sharing).
///
/// Time that an answer would need alone is counted against a clock of the instance, which runs slower the more requests
/// it has. So a request that comes or goes changes nothing of the others' marks on that clock.
package struct SimulatedInstance: Sendable {
  /// Of all lives of instances, from 1.
  let life: Int
  private let speed: TokenSpeed
  /// What the clock showed, and when.
  private var work = 0.0
  private var updatedAt: Instant
  private var active: [Active] = []
  /// Those that wait for their model.
  private var waiting: [RequestID: WorkloadRequest] = [:]
  private var memory: SimulatedMemory
  /// One more with each change: what was foreseen before it is void.
  package private(set) var version = 0

  private struct Active: Sendable {
    let id: RequestID
    let request: WorkloadRequest
    /// What it holds in memory; nil where that does not matter.
    let model: String?
    let firstByteAt: Instant
    /// Marks on the clock; nil before the first byte.
    var answer: (since: Double, end: Double)?
  }

  package enum Step { case loaded(model: String), firstByte(RequestID), end(RequestID) }

  package init(life: Int, speed: TokenSpeed, loadedModels: Int = 1, loadTime: Duration = .zero, at now: Instant) {
    self.life = life
    self.speed = speed
    memory = SimulatedMemory(capacity: loadedModels, loadTime: loadTime)
    updatedAt = now
  }

  /// - Parameter model: what it has to have in memory for it; nil where that is there.
  /// - Returns: whether it waits for the model.
  @discardableResult
  package mutating func begin(
    _ id: RequestID, _ request: WorkloadRequest, model: String? = nil, at now: Instant
  ) -> Bool {
    advance(to: now)
    version += 1
    guard let model else {
      compute(id, request, nil, at: now)
      return false
    }
    waiting[id] = request
    memory.want(SimulatedMemory.Wish(model: model, request: id))
    computeWhatCan(at: now)
    return waiting[id] != nil
  }

  private mutating func compute(_ id: RequestID, _ request: WorkloadRequest, _ model: String?, at now: Instant) {
    let firstByte = now + .seconds(rounding: speed.prefillSeconds(request))
    active.append(Active(id: id, request: request, model: model, firstByteAt: firstByte))
  }

  private mutating func computeWhatCan(at now: Instant) {
    while let (id, model) = memory.next(at: now) {
      if let request = waiting.removeValue(forKey: id) { compute(id, request, model, at: now) }
    }
  }

  /// Removes it, whatever has come of it.
  mutating func drop(_ id: RequestID, at now: Instant) {
    advance(to: now)
    if waiting.removeValue(forKey: id) != nil { memory.forget(id) }
    if let index = active.firstIndex(where: { $0.id == id }) { leave(index) }
    computeWhatCan(at: now)
    version += 1
  }

  private mutating func leave(_ index: Int) { if let model = active.remove(at: index).model { memory.left(model) } }

  // MARK: Models

  /// As `/api/ps` tells.
  var loaded: [LoadedModel] { memory.list }

  func holds(_ model: String) -> Bool { memory.holds(model) }

  /// It is there when the instance is ready.
  mutating func hold(_ model: String) { memory.hold(model) }

  /// Loads it to stay.
  mutating func load(_ model: String, at now: Instant) {
    memory.want(SimulatedMemory.Wish(model: model, request: nil))
    computeWhatCan(at: now)
    version += 1
  }

  // MARK: Time

  /// When the next thing happens, if nothing comes between.
  package var nextStep: Instant? {
    let due = active.lazy.map(due).min()
    guard let loadedAt = memory.loadedAt else { return due }
    return min(loadedAt, due ?? loadedAt)
  }

  /// Does what is due at `nextStep`.
  package mutating func step(at now: Instant) -> Step? {
    let next = active.indices.min { due(active[$0]) < due(active[$1]) }
    if let loadedAt = memory.loadedAt, next.map({ loadedAt <= due(active[$0]) }) ?? true {
      advance(to: now)
      version += 1
      let model = memory.loadEnded()
      computeWhatCan(at: now)
      return model.map { .loaded(model: $0) }
    }
    guard let index = next else { return nil }
    advance(to: now)
    version += 1
    guard active[index].answer == nil else {
      let id = active[index].id
      leave(index)
      computeWhatCan(at: now)
      return .end(id)
    }
    active[index].answer = (work, work + speed.answerSeconds(active[index].request))
    return .firstByte(active[index].id)
  }

  private func due(_ request: Active) -> Instant {
    guard let answer = request.answer else { return request.firstByteAt }
    return updatedAt + .seconds(rounding: max(0, answer.end - work) / speed.share(of: active.count))
  }

  /// Tokens of its answer that a request has.
  func tokens(of id: RequestID, at now: Instant) -> Int {
    guard let request = active.first(where: { $0.id == id }), let answer = request.answer else { return 0 }
    let done = work + (now - updatedAt).seconds * speed.share(of: active.count) - answer.since
    return min(request.request.outputTokens, max(0, Int(done * speed.decode)))
  }

  private mutating func advance(to now: Instant) {
    work += (now - updatedAt).seconds * speed.share(of: active.count)
    updatedAt = now
  }
}
