package import PoolCore

/// What an instance computes: all its answers at once, each at the same rate (processor sharing).
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
  /// One more with each change: what was foreseen before it is void.
  package private(set) var version = 0

  private struct Active: Sendable {
    let id: RequestID
    let request: WorkloadRequest
    let firstByteAt: Instant
    /// Marks on the clock; nil before the first byte.
    var answer: (since: Double, end: Double)?
  }

  package enum Step { case firstByte(RequestID), end(RequestID) }

  package init(life: Int, speed: TokenSpeed, at now: Instant) {
    self.life = life
    self.speed = speed
    updatedAt = now
  }

  package mutating func begin(_ id: RequestID, _ request: WorkloadRequest, at now: Instant) {
    advance(to: now)
    let firstByte = now + .seconds(rounding: speed.prefillSeconds(request))
    active.append(Active(id: id, request: request, firstByteAt: firstByte))
    version += 1
  }

  /// Removes it, whatever has come of it.
  mutating func drop(_ id: RequestID, at now: Instant) {
    advance(to: now)
    active.removeAll { $0.id == id }
    version += 1
  }

  /// When the next thing happens, if nothing comes between.
  package var nextStep: Instant? { active.lazy.map(due).min() }

  /// Does what is due at `nextStep`.
  package mutating func step(at now: Instant) -> Step? {
    guard let index = active.indices.min(by: { due(active[$0]) < due(active[$1]) }) else { return nil }
    advance(to: now)
    version += 1
    guard active[index].answer == nil else { return .end(active.remove(at: index).id) }
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
