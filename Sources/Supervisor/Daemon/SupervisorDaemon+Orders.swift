import PoolCore
import Systemd

/// What operators ordered is kept in the state directory, and holds again after a restart.
extension SupervisorDaemon {
  /// Before anything is decided.
  func restoreOrders(_ stored: GPUFaults?) {
    storedFaults = stored?.standing(inBoot: GPUFaults.presentBoot) ?? [:]
    storedOrders = orders.operatorOrders(now: MonotonicClock.now, wallSeconds: MonotonicClock.wallSeconds)
    apply { [orders, storedOrders, storedFaults] fleet, now in
      fleet.restore(
        cordons: orders.operatorCordons(now: now, wallSeconds: MonotonicClock.wallSeconds), orders: storedOrders,
        faults: storedFaults)
      fleet.scaler.override = orders.scale.map { scale in
        Scaler.Override(
          minimum: scale.minimum, maximum: scale.maximum,
          until: scale.until.map { now + .seconds(rounding: $0 - MonotonicClock.wallSeconds) })
      }
      return []
    }
    guard let summary = orders.summary else { return }
    tell(SupervisorEvent(.ordersRestored, "orders of before hold on", why: summary))
  }

  /// Stores what has changed by an order, or by the core itself: a drain cordons, and bounds have an end.
  func keepOrders() {
    var kept = orders
    kept.keep(fleet.cordons, now: MonotonicClock.now, wallSeconds: MonotonicClock.wallSeconds)
    if storedOrders != fleet.orders {
      storedOrders = fleet.orders
      kept.keep(fleet.orders, now: MonotonicClock.now, wallSeconds: MonotonicClock.wallSeconds)
    }
    if kept.scale != nil, fleet.scaler.override == nil {
      kept.scale = nil
      tell(SupervisorEvent(.scaleEnded, "the configured bounds hold again", why: "the operator's have ended"))
    }
    if kept != orders { storeOrders(kept) }
  }

  func storeOrders(_ new: StandingOrders) {
    orders = new
    state.store(new, as: .orders) { [journal = options.journal] in journal.send(SupervisorEvent.storing($0).entry) }
  }

  /// What could not be stored: the disk may have room again.
  func storeAgain() {
    if state.isBehind(.orders) { storeOrders(orders) }
    if state.isBehind(.numbers) { storeNumbering() }
    if state.isBehind(.faults) { storeFaults() }
  }
}
