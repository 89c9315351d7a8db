import ControlInterface
import DequeModule
import Gateway
import NIOCore
import PoolCore

/// A load that a request cost because its options differ from those that its model was loaded with.
struct ModelReload: Equatable {
  var model: String
  var instance: InstanceID
  var from: RunnerOptions
  var to: RunnerOptions
  var at: Instant
  /// The client's address, without its port.
  var client = "unknown"
}

/// How often one client's requests have cost a load of one model.
struct ReloadTally {
  /// So many are kept, those with the latest loads.
  static let most = 20

  var count: Int
  var last: ModelReload
}

extension DispatcherShell {
  func modelReloaded(_ reload: ModelReload, by request: RequestID) {
    var reload = reload
    if let peer = carried[request]?.exchange.peerAddress { reload.client = peer.ipAddress ?? "a local socket" }
    let known = reloads.firstIndex { $0.last.model == reload.model && $0.last.client == reload.client }
    let before = known.map { reloads.remove(at: $0).count } ?? 0
    reloads.append(ReloadTally(count: before + 1, last: reload))
    if reloads.count > ReloadTally.most { reloads.removeFirst() }
    metrics.modelReloaded(reload.model)
    tell(.modelReloaded(reload))
  }

  /// For `status`, the latest last.
  var lastReloads: [DispatcherTypes.Reloads] {
    let now = Instant.now
    return reloads.map { tally in
      DispatcherTypes.Reloads(
        model: tally.last.model, client: tally.last.client, count: tally.count, instance: tally.last.instance.name,
        from: tally.last.from.description, to: tally.last.to.description, secondsAgo: (now - tally.last.at).seconds)
    }
  }
}
