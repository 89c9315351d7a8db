import Glibc
import NIOCore
import OllamaAPI
import PoolCore

/// A model in memory, with its slots and those who wait for one. Belongs to the event loop.
final class LoadedModel {
  let model: StoredModel
  /// Tokens. A request that asks for another length needs the model loaded anew.
  let contextLength: Int
  let sizeVRAM: Int
  /// What it holds of simulated GPUs.
  let shares: [HeldMemory.Share]
  let loadedNanoseconds: Int
  private let slots: Int
  private let process: RunnerProcess
  private let eventLoop: NIOIsolatedEventLoop
  /// Called whenever the last user has gone, and when its time is over.
  private let onIdle: (LoadedModel) -> Void
  private let onExpiry: (LoadedModel) -> Void

  private var active: [Visit] = []
  private var waiting: [Visit] = []
  private var keepAlive: KeepAlive
  private var expiry: Scheduled<Void>?
  private(set) var expiresAt = WallTime.farFuture
  /// Its process died: nothing more can be got from it, but `/api/ps` still lists it.
  private(set) var isBroken = false

  init(
    _ model: StoredModel, contextLength: Int, sizeVRAM: Int, shares: [HeldMemory.Share], loadedNanoseconds: Int,
    slots: Int, keepAlive: KeepAlive,
    process: RunnerProcess, eventLoop: NIOIsolatedEventLoop, onIdle: @escaping (LoadedModel) -> Void,
    onExpiry: @escaping (LoadedModel) -> Void
  ) {
    self.model = model
    self.contextLength = contextLength
    self.sizeVRAM = sizeVRAM
    self.shares = shares
    self.loadedNanoseconds = loadedNanoseconds
    self.slots = slots
    self.keepAlive = keepAlive
    self.process = process
    self.eventLoop = eventLoop
    self.onIdle = onIdle
    self.onExpiry = onExpiry
    process.onDeath = { [weak self] in self?.processDied() }
  }

  var isIdle: Bool { active.isEmpty && waiting.isEmpty }
  var activeCount: Int { active.count }

  /// Gives a slot at once or later; the wait has no bound, as in Ollama.
  func enter(_ visit: Visit, keepAlive: KeepAlive?) {
    if let keepAlive { self.keepAlive = keepAlive }
    expiry?.cancel()
    expiresAt = .farFuture
    visit.host = self
    if active.count < slots {
      active.append(visit)
      visit.start(self)
    } else {
      waiting.append(visit)
    }
  }

  func leave(_ visit: Visit) {
    waiting.removeAll { $0 === visit }
    let before = active.count
    active.removeAll { $0 === visit }
    if active.count < before, !isBroken, !waiting.isEmpty {
      let next = waiting.removeFirst()
      active.append(next)
      // Not from within the visit that leaves: it may hold its own state yet.
      eventLoop.execute { if next.host === self { next.start(self) } }
    }
    if isIdle { becameIdle() }
  }

  private func becameIdle() {
    expiry?.cancel()
    switch keepAlive {
    case .forever:
      expiresAt = .farFuture
    case .seconds(let seconds):
      expiresAt = .now.advanced(bySeconds: seconds)
      expiry = eventLoop.scheduleTask(in: .nanoseconds(Int64(seconds * 1e9))) { [weak self] in
        if let self, self.isIdle { self.onExpiry(self) }
      }
    }
    onIdle(self)
  }

  /// Kills its process as a fault does.
  func crash() { process.crash() }

  private func processDied() {
    isBroken = true
    Log.error(
      "llama-server terminated", source: "server.go",
      ["model": model.name.description, "pid": String(process.processID)])
    let visits = active + waiting
    active = []
    waiting = []
    for visit in visits { visit.hostDied() }
    becameIdle()
  }

  func unload() {
    expiry?.cancel()
    process.kill()
  }
}

/// One request's stay in a loaded model: from asking for a slot until it is left. Belongs to the event loop.
final class Visit {
  fileprivate weak var host: LoadedModel?
  private var onStart: ((LoadedModel) -> Void)?
  private var onFailure: ((Refusal) -> Void)?
  private(set) var isCancelled = false

  init(onStart: @escaping (LoadedModel) -> Void, onFailure: @escaping (Refusal) -> Void) {
    self.onStart = onStart
    self.onFailure = onFailure
  }

  fileprivate func start(_ host: LoadedModel) {
    onStart?(host)
    onStart = nil
  }

  /// The slot will not come, or the model is gone.
  func fail(_ refusal: Refusal) {
    onFailure?(refusal)
    forget()
  }

  fileprivate func hostDied() {
    host = nil
    fail(.runnerDied)
  }

  /// Gives the slot, or the place in the queue, back.
  func leave() {
    isCancelled = true
    forget()
    let host = host
    self.host = nil
    host?.leave(self)
  }

  private func forget() {
    onStart = nil
    onFailure = nil
  }
}
