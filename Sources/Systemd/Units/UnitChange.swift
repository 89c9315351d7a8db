/// What the stream of ``SystemdBus/unitChanges(withPrefix:)`` tells.
///
/// It is about *changes*: list the units first, and again after all but the first two, when some may have gone
/// unseen.
package enum UnitChange: Equatable, Sendable {
  /// A unit is in a new state; the same state is never told twice in a row.
  case changed(UnitState)
  /// systemd has unloaded the unit: a transient one is gone for good.
  case removed(name: String)
  /// The bus or systemd was away and is back: list the units again. References (`AddRef`) are gone after a restart of
  /// dbus.
  case reconnected
  /// systemd has read its units' files anew (`systemctl daemon-reload`): list the units again.
  case reloaded
  /// The reader was too slow and changes were dropped: list the units again.
  case overflowed
}

extension AsyncStream<UnitChange>.Continuation {
  /// Whenever the buffer (of the newest) drops something, a notice of it is the last in it: no reader can miss it.
  func tell(_ change: UnitChange) {
    if case .dropped = yield(change) { yield(.overflowed) }
  }
}

/// Makes changes out of systemd's signals. Pure; repeated states are left out.
struct UnitTracker {
  private static let unitInterface = "org.freedesktop.systemd1.Unit"

  private var states: [String: UnitState] = [:]
  private var reported: [String: UnitState] = [:]

  /// A PropertiesChanged signal of a unit.
  ///
  /// systemd sends one for the unit's own type and then one for Unit, each with all properties that may change.
  /// Reporting at the second makes both appear as one change.
  mutating func propertiesChanged(of name: String, interface: String, _ properties: [String: BusValue]) -> UnitChange? {
    var state = states[name] ?? UnitState(name: name)
    state.update(from: properties)
    states[name] = state
    guard interface == Self.unitInterface, reported[name] != state else { return nil }
    reported[name] = state
    return .changed(state)
  }

  mutating func removed(_ name: String) -> UnitChange? {
    reported[name] = nil
    return states.removeValue(forKey: name).map { .removed(name: $0.name) }
  }

  /// Forgets everything, so that what comes next is told anew.
  mutating func reset() {
    states = [:]
    reported = [:]
  }
}
