import OrderedCollections

/// The one instance through which the model store is changed.
///
/// Two servers never change one store: Ollama keeps pulls of one process apart, and of two they would share a file.
extension Fleet {
  /// One life of an instance.
  struct Writer: Hashable, Sendable {
    var id: InstanceID
    var invocation: InvocationID
  }

  /// After an instance has stopped writing its way out to the network stays open for so long: what the dispatcher had
  /// given it before it heard of that shows in the counts by then, since a call to the dispatcher takes less.
  static let networkLinger: Duration = .seconds(10)

  /// The instance that writes the model store; nil while none can.
  package var storeWriter: InstanceID? { writer?.id }

  /// Chooses anew where the one that writes is gone, can't go on, or holds nothing and is on its way out.
  mutating func chooseWriter() -> [FleetAction] {
    let before = writer
    guard limits.storeIsOwned else {
      writer = nil
      return before == nil ? [] : [.report(.writerChanged(nil))]
    }
    var present: Shared<RunningInstance>?
    if let writer { present = placements[writer.id]?.running }
    if present?.unit.invocation != writer?.invocation { (present, writer) = (nil, nil) }
    if let present {
      // What is not counted may hold something.
      let holds = !present.isCounted || present.references > 0
      if holds || present.isReady && drain(of: present.placement.id) == nil { return [] }
    }
    // One that starts is given nothing yet; if another were ready first, both would have a way out for a while.
    if let fit = fittestWriter, fit.isReady || present == nil && mayBeWriting(fit) {
      writer = Writer(id: fit.placement.id, invocation: fit.unit.invocation)
    }
    guard writer != before else { return [] }
    return [.report(.writerChanged(writer?.id))]
  }

  /// Whether an earlier supervisor may have left it as the one that writes.
  private func mayBeWriting(_ instance: Shared<RunningInstance>) -> Bool {
    limits.networkIsForWriterOnly && instance.unit.hasNetwork == true
  }

  /// Of those that go on: one that is ready; one that may be writing already, as an earlier supervisor left it; the
  /// oldest.
  private var fittestWriter: Shared<RunningInstance>? {
    let candidates = serving.map(\.instance).filter { $0.isReady || $0.isStarting }
    func rank(_ instance: Shared<RunningInstance>) -> (Int, Int, Int) {
      (
        instance.isReady ? 0 : 1, instance.references > 0 ? 0 : 1,
        mayBeWriting(instance) ? 0 : 1
      )
    }
    return candidates.enumerated().min { one, other in
      rank(one.element) == rank(other.element)
        ? one.offset < other.offset : rank(one.element) < rank(other.element)
    }?.element
  }

  /// Before the dispatcher hears of who writes.
  mutating func openNetwork(at now: Instant) -> [FleetAction] {
    guard limits.networkIsForWriterOnly, let writer else { return [] }
    return setNetwork(of: writer.id, open: true, at: now)
  }

  /// A failed order is given again only after this.
  package static let networkPause: Duration = .seconds(5)

  private mutating func setNetwork(of id: InstanceID, open: Bool, at now: Instant) -> [FleetAction] {
    guard let instance = placements[id]?.running else { return [] }
    if let failure = instance.networkFailure {
      if failure.open == open, now - failure.at < Self.networkPause { return [] }
    } else if instance.unit.hasNetwork == open {
      return []
    }
    placements[id]?.running?.unit.hasNetwork = open
    placements[id]?.running?.networkFailure = nil
    return [.openNetwork(id, instance.unit.invocation, open)]
  }

  /// An order about a way out to the network failed: what holds now is not known, and it is given again if it is still
  /// wanted.
  package mutating func networkNotChanged(_ id: InstanceID, _ invocation: InvocationID, open: Bool, at now: Instant) {
    guard let unit = placements[id]?.running?.unit, unit.invocation == invocation, unit.hasNetwork == open else {
      return
    }
    placements[id]?.running?.networkFailure = RunningInstance.NetworkFailure(open: open, at: now)
  }

  /// After the dispatcher has heard who writes, of those that do no more and hold nothing.
  mutating func closeNetworks(at now: Instant) -> [FleetAction] {
    guard limits.networkIsForWriterOnly else { return [] }
    var actions: [FleetAction] = []
    for (id, record) in placements {
      guard let instance = record.running else { continue }
      guard id != writer?.id else {
        placements[id]?.running?.notWriterSince = nil
        continue
      }
      let since = instance.notWriterSince ?? now
      placements[id]?.running?.notWriterSince = since
      guard instance.unit.hasNetwork == true || instance.networkFailure != nil, instance.isCounted,
        instance.references == 0, now - since >= Self.networkLinger
      else { continue }
      actions += setNetwork(of: id, open: false, at: now)
    }
    return actions
  }
}
