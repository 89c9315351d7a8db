import Dispatch
import Glibc
import PoolCore
import Synchronization

/// Events of NVIDIA's GPUs, from a thread of its own. AMD's driver has none: their faults show in readings.
///
/// The driver is opened again after it was loaded anew; what happens in between is lost.
package final class GPUEventSource: Sendable {
  /// Events that nobody has taken are kept up to 256, the latest of them: a GPU that fails repeats itself.
  package let events: AsyncStream<GPUEvent>
  private let watch: EventWatch

  /// Does nothing before `watch(_:)` names a GPU of NVIDIA's.
  /// - Parameters:
  ///   - nvmlLibrary: a path, or a name for the dynamic linker to find.
  ///   - retryPause: from a failure to the next attempt.
  package init(nvmlLibrary: String = "libnvidia-ml.so.1", retryPause: Duration = .seconds(10)) {
    let (events, continuation) = AsyncStream.makeStream(of: GPUEvent.self, bufferingPolicy: .bufferingNewest(256))
    self.events = events
    watch = EventWatch(library: nvmlLibrary, retryPause: retryPause, continuation)
  }

  deinit { close() }

  /// From now on these are watched: all GPUs and slices, as they were just read.
  package func watch(_ gpus: [GPU]) { watch.add(gpus.filter { $0.vendor == .nvidia }) }

  /// Why no events come from some GPU or all of them, such as an old driver or a lack of rights; `nil` while they do,
  /// or nothing is watched. Stays the same as long as the cause does.
  package var problem: InventoryProblem? { watch.problem }

  var hasThread: Bool { watch.hasThread }

  /// Ends the stream at once. The thread ends by itself, within half a second; one that hangs in the driver when that
  /// answers.
  package func close() { watch.close() }
}

/// What the thread and its owner share.
final class EventWatch: Sendable {
  private struct State {
    /// Whole and divided GPUs, and those of slices.
    var uuids: Set<String> = []
    var slices: [SliceKey: String] = [:]
    var problem: InventoryProblem?
    var hasThread = false
    var isClosed = false
    /// Whether something has changed since the thread looked.
    var isNews = false
  }

  struct SliceKey: Hashable {
    var parent: String
    var gpuInstance: Int
    var computeInstance: Int
  }

  /// How long the thread waits in the driver: the longest that it may outlive its owner.
  private static let wait = Duration.milliseconds(500)

  private let library: String
  private let retryPause: Duration
  private let continuation: AsyncStream<GPUEvent>.Continuation
  private let state = Mutex(State())
  /// Wakes the thread from a pause.
  private let bell = DispatchSemaphore(value: 0)

  init(library: String, retryPause: Duration, _ continuation: AsyncStream<GPUEvent>.Continuation) {
    self.library = library
    self.retryPause = retryPause
    self.continuation = continuation
  }

  var problem: InventoryProblem? { state.withLock(\.problem) }

  func add(_ gpus: [GPU]) {
    var uuids: Set<String> = []
    var slices: [SliceKey: String] = [:]
    for gpu in gpus {
      // The GPU of a slice need not be among them.
      uuids.insert(gpu.parent ?? gpu.uuid)
      guard case .slice(let parent, let gpuInstance, let computeInstance) = gpu.kind else { continue }
      slices[SliceKey(parent: parent, gpuInstance: gpuInstance, computeInstance: computeInstance)] = gpu.uuid
    }
    let (isNews, needsThread) = state.withLock { state in
      let isNews = !uuids.isSubset(of: state.uuids)
      state.isNews = state.isNews || isNews
      state.uuids = uuids
      state.slices = slices
      guard !state.hasThread, !state.isClosed, !uuids.isEmpty else { return (isNews, false) }
      state.hasThread = true
      return (isNews, true)
    }
    if isNews { bell.signal() }
    if needsThread { startThread() }
  }

  func close() {
    state.withLock { $0.isClosed = true }
    continuation.finish()
    bell.signal()
  }

  private func startThread() {
    var thread = pthread_t()
    let itself = Unmanaged.passRetained(self)
    let code = pthread_create(
      &thread, nil,
      { context in
        context.map { Unmanaged<EventWatch>.fromOpaque($0).takeRetainedValue().run() }
        return nil
      }, itself.toOpaque())
    guard code == 0 else {
      itself.release()
      state.withLock { $0.hasThread = false }
      return fail(InventoryProblem(subject: "pthread_create", text: String(cString: strerror(code))))
    }
    pthread_detach(thread)
  }

  var hasThread: Bool { state.withLock(\.hasThread) }
  private var isClosed: Bool { state.withLock(\.isClosed) }

  private func fail(_ problem: InventoryProblem?) { state.withLock { $0.problem = problem } }

  /// Opens the driver, waits for events until that fails, and so on.
  private func run() {
    defer { state.withLock { $0.hasThread = false } }
    while !isClosed {
      var hasWaited = false
      do throws(InventoryProblem) { try listen(&hasWaited) } catch { fail(error) }
      state.withLock { $0.isNews = true }
      // After a reload the driver is there again; what fails over and over is left alone for a while.
      pause(hasWaited ? min(retryPause, Self.wait) : retryPause)
    }
  }

  /// Returns where there is nothing to listen to, or another session may know more GPUs.
  private func listen(_ hasWaited: inout Bool) throws(InventoryProblem) {
    let library = try NVMLLibrary(path: library)
    hasWaited = library.awaitsRecount
    if library.awaitsRecount { return }
    let session = try NVMLEventSession(library)
    var problem: InventoryProblem?
    while !isClosed, !library.awaitsRecount {
      if let uuids = news() {
        problem = session.register(uuids)
        if session.uuids.isEmpty { return fail(problem) }
        if hasWaited, !uuids.isSubset(of: session.uuids) { return }
      }
      let began = ContinuousClock.now
      let event = try session.wait(Self.wait)
      // Not before: a driver that registers and can't be waited for would seem well in between.
      fail(problem)
      hasWaited = true
      if let event {
        deliver(event)
      } else if ContinuousClock.now - began < .milliseconds(10) {
        // A driver that doesn't wait is not to take a whole CPU.
        pause(.milliseconds(100))
      }
    }
    hasWaited = hasWaited || library.awaitsRecount
  }

  private func pause(_ limit: Duration) {
    // What rang before is known.
    while bell.wait(timeout: .now()) == .success {}
    if !isClosed { _ = bell.wait(timeout: .now() + limit.seconds) }
  }

  private func news() -> Set<String>? {
    state.withLock { state in
      defer { state.isNews = false }
      return state.isNews ? state.uuids : nil
    }
  }

  private func deliver(_ event: NVMLEventSession.Event) {
    let slices = state.withLock(\.slices).filter { $0.key.parent == event.uuid }
    guard let gpuInstance = event.gpuInstance, !slices.isEmpty else {
      continuation.yield(GPUEvent(uuid: event.uuid, kind: event.kind))
      return
    }
    // One of a GPU instance as a whole is one of each slice of it; one of a slice that was not named is nobody's here.
    let concerned = slices.filter { key, _ in
      key.gpuInstance == gpuInstance && (event.computeInstance ?? key.computeInstance) == key.computeInstance
    }
    for uuid in concerned.values.sorted() { continuation.yield(GPUEvent(uuid: uuid, kind: event.kind)) }
  }
}
