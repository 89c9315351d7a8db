import Glibc
import NIOCore
import OllamaAPI
import PoolCore

/// Which models are in memory, and who waits for one to get there: one load at a time, and only requests that need a
/// load are counted against OLLAMA_MAX_QUEUE. Belongs to the event loop.
final class Scheduler {
  /// What a request needs.
  struct Demand {
    let model: StoredModel
    let contextLength: Int
    let keepAlive: KeepAlive?
  }

  private struct Waiting {
    let demand: Demand
    let visit: Visit
  }

  /// Where a model comes to be.
  private struct Memory {
    /// Bytes that it says to have on GPUs.
    let sizeVRAM: Int
    let shares: [HeldMemory.Share]
  }

  private struct Load {
    let waiting: Waiting
    let process: RunnerProcess
    let memory: Memory
    let startedAt: NIODeadline
    let timer: Scheduled<Void>
  }

  private let settings: Settings
  private let faults: Faults
  private let registry: RunnerRegistry
  /// Simulated GPUs; nil: memory is without end.
  private let gpus: GPUMemory?
  private let eventLoop: NIOIsolatedEventLoop
  private var loaded: [String: LoadedModel] = [:]
  /// The request whose turn it is: it loads its model, or waits until another makes room.
  private var current: Waiting?
  private var load: Load?
  private var queue: [Waiting] = []
  /// Idle models in the order in which they became so: the first goes first.
  private var idleOrder: [String] = []

  init(settings: Settings, faults: Faults, gpus: GPUMemory?, registry: RunnerRegistry, eventLoop: NIOIsolatedEventLoop)
  {
    self.settings = settings
    self.gpus = gpus
    self.faults = faults
    self.registry = registry
    self.eventLoop = eventLoop
  }

  private var maxLoaded: Int {
    settings.maxLoadedModels > 0 ? settings.maxLoadedModels : 3 * max(1, settings.devices.all.count)
  }

  /// Answers being generated, over all models: they share the GPU.
  var activeCount: Int { loaded.values.reduce(0) { $0 + $1.activeCount } }
  var models: [LoadedModel] { loaded.values.sorted { $0.model.name.key < $1.model.name.key } }

  /// Gives `visit` a slot in a model, at once or later, or a refusal.
  func request(_ demand: Demand, for visit: Visit) {
    if let host = loaded[demand.model.name.key], fits(host, demand), current?.demand.model.name != demand.model.name {
      host.enter(visit, keepAlive: demand.keepAlive)
    } else if queue.count >= settings.maxQueue && current != nil {
      visit.fail(.busy)
    } else {
      queue.append(Waiting(demand: demand, visit: visit))
      proceed()
    }
  }

  /// The request's client has gone: gives back what it holds, and aborts the load that it asked for.
  func cancel(_ visit: Visit) {
    visit.leave()
    queue.removeAll { $0.visit === visit }
    guard current?.visit === visit else { return }
    if let load {
      Log.info("client connection closed before llama-server finished loading, aborting load", source: "server.go")
      load.timer.cancel()
      load.process.kill()
    }
    load = nil
    current = nil
    proceed()
  }

  /// Unloads a model as soon as nobody uses it, as `keep_alive: 0` without a prompt asks.
  func unload(_ model: StoredModel) {
    guard let host = loaded[model.name.key], host.isIdle else { return }
    remove(host)
  }

  private func fits(_ host: LoadedModel, _ demand: Demand) -> Bool {
    !host.isBroken && host.contextLength == demand.contextLength && host.model.digest == demand.model.digest
  }

  // MARK: The pending loop

  private func proceed() {
    while load == nil {
      if current == nil {
        guard !queue.isEmpty else { return }
        current = queue.removeFirst()
      }
      guard let waiting = current else { return }
      let key = waiting.demand.model.name.key
      if let host = loaded[key] {
        if fits(host, waiting.demand) {
          current = nil
          host.enter(waiting.visit, keepAlive: waiting.demand.keepAlive)
          continue
        }
        guard host.isIdle else { return }
        remove(host)
      } else if loaded.count >= maxLoaded || !loaded.isEmpty && gpus?.hasRoom(for: waiting.demand.model.size) == false {
        // In memory, a model is wholly on the GPU rather than beside others.
        guard let victim = idleOrder.lazy.compactMap({ self.loaded[$0] }).first(where: \.isIdle) else { return }
        remove(victim)
        continue
      }
      startLoad(waiting)
    }
  }

  private func remove(_ host: LoadedModel) {
    host.unload()
    loaded[host.model.name.key] = nil
    idleOrder.removeAll { $0 == host.model.name.key }
  }

  private func startLoad(_ waiting: Waiting) {
    let name = waiting.demand.model.name
    let memory = memory(for: waiting.demand.model)
    let process: RunnerProcess
    do throws(SimulatorError) {
      process = try RunnerProcess(
        model: name.description, held: HeldMemory.arguments(memory.shares, in: gpus?.folder ?? ""), registry: registry,
        eventLoop: eventLoop.nonisolated())
    } catch {
      current = nil
      waiting.visit.fail(Refusal(status: 500, message: error.message))
      return
    }
    Log.info("starting llama-server", source: "server.go", ["model": name.description, "pid": "\(process.processID)"])
    let faults = faults.current
    var seconds =
      faults.loadSeconds ?? settings.behaviour.loadSecondsByModel[name.key] ?? settings.behaviour.loadSeconds
    var outcome = faults.contains(.outOfMemory) ? Refusal.outOfMemory : nil
    if faults.contains(.loadForever) {
      seconds = settings.loadTimeout ?? 1e9
      outcome = .loadTimeout
    } else if let limit = settings.loadTimeout, seconds > limit {
      (seconds, outcome) = (limit, .loadTimeout)
    }
    let timer = eventLoop.scheduleTask(in: .nanoseconds(Int64(seconds * 1e9))) { [weak self] in
      if let self { loadEnded(refusal: outcome) }
    }
    process.onDeath = { [weak self] in
      timer.cancel()
      self?.loadEnded(refusal: Refusal(status: 500, message: "llama-server process has terminated: signal: killed"))
    }
    load = Load(waiting: waiting, process: process, memory: memory, startedAt: .now(), timer: timer)
  }

  private func memory(for model: StoredModel) -> Memory {
    let faults = faults.current
    if settings.devices.all.isEmpty || faults.contains(.cpuFallback) { return Memory(sizeVRAM: 0, shares: []) }
    if faults.contains(.unsaidCPUFallback) { return Memory(sizeVRAM: model.size, shares: []) }
    guard let gpus else { return Memory(sizeVRAM: model.size, shares: []) }
    let shares = gpus.shares(of: model.size)
    return Memory(sizeVRAM: shares.reduce(0) { $0 + $1.bytes }, shares: shares)
  }

  /// Whether what a model computes with is gone.
  func isOnLostGPU(_ host: LoadedModel) -> Bool { !host.shares.isEmpty && gpus?.isLost(host.shares) == true }

  private func loadEnded(refusal: Refusal?) {
    guard let load else { return }
    self.load = nil
    current = nil
    let demand = load.waiting.demand
    if let refusal {
      load.process.kill()
      if refusal.message == Refusal.outOfMemory.message { Log.warn("runtime OOM detected", source: "sched.go") }
      Log.error("error loading llama server", source: "sched.go", ["error": refusal.message])
      load.waiting.visit.fail(refusal)
    } else {
      let nanoseconds = Int((NIODeadline.now() - load.startedAt).nanoseconds)
      let host = LoadedModel(
        demand.model, contextLength: demand.contextLength, sizeVRAM: load.memory.sizeVRAM,
        shares: load.memory.shares,
        loadedNanoseconds: nanoseconds, slots: demand.model.canGenerate ? settings.parallel : 1,
        keepAlive: settings.keepAlive, process: load.process, eventLoop: eventLoop,
        onIdle: { [weak self] in self?.becameIdle($0) }, onExpiry: { [weak self] in self?.expired($0) })
      loaded[demand.model.name.key] = host
      Log.info(
        "llama-server started", source: "server.go",
        ["model": demand.model.name.description, "seconds": "\(Double(nanoseconds) / 1e9)"])
      host.enter(load.waiting.visit, keepAlive: demand.keepAlive)
    }
    proceed()
  }

  private func becameIdle(_ host: LoadedModel) {
    let key = host.model.name.key
    idleOrder.removeAll { $0 == key }
    idleOrder.append(key)
    // Whoever waits for room is not served from within the call that made it.
    if current != nil && load == nil { eventLoop.execute { [weak self] in self?.proceed() } }
  }

  private func expired(_ host: LoadedModel) {
    remove(host)
    proceed()
  }
}
