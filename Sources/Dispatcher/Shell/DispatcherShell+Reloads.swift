import ControlInterface
import DequeModule
import Gateway
import NIOCore
import PoolCore

/// A load that a request cost because its options differ from those that its model was loaded with.
struct ModelReload: Equatable {
  /// So many are kept.
  static let most = 20

  var model: String
  var instance: InstanceID
  var from: RunnerOptions
  var to: RunnerOptions
  var at: Instant
  /// The client's address, without its port.
  var client = "unknown"
}

extension DispatcherShell {
  func modelReloaded(_ reload: ModelReload, by request: RequestID) {
    var reload = reload
    if let peer = carried[request]?.exchange.peerAddress { reload.client = peer.ipAddress ?? "a local socket" }
    reloads.append(reload)
    if reloads.count > ModelReload.most { reloads.removeFirst() }
    metrics.modelReloaded(reload.model)
    tell(.modelReloaded(reload))
  }

  /// For `status`, the latest last.
  var lastReloads: [DispatcherTypes.Reload] {
    let now = Instant.now
    return reloads.map { reload in
      DispatcherTypes.Reload(
        model: reload.model, instance: reload.instance.name, from: reload.from.description,
        to: reload.to.description, client: reload.client, secondsAgo: (now - reload.at).seconds)
    }
  }
}
