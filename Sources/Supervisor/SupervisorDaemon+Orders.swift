import PoolCore
import Systemd

/// What operators ordered is kept in the state directory, and holds again after a restart.
extension SupervisorDaemon {
  /// Before anything is decided.
  func restoreOrders() {
    apply { [orders] fleet, now in
      fleet.restore(cordons: orders.cordons)
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
    kept.cordons = fleet.cordons
    if kept.scale != nil, fleet.scaler.override == nil {
      kept.scale = nil
      tell(SupervisorEvent(.scaleEnded, "the configured bounds hold again", why: "the operator's have ended"))
    }
    if kept != orders { storeOrders(kept) }
  }

  func storeOrders(_ new: StandingOrders) {
    orders = new
    state.store(new, as: .orders) { [journal = options.journal] error in
      if let error { journal.send(SupervisorEvent.notStored(error).entry) }
    }
  }
}
