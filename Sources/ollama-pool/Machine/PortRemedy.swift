import Dispatcher
import Launching
import Systemd

extension PortHolder {
  /// What frees a port from its holder.
  static func remedy(against holder: PortHolder?) -> String {
    switch (holder?.owner, holder?.processID) {
    case (.service(OllamaService.unit, let user), _):
      "`\(ControlGroupOwner.systemctl(user)) disable --now \(OllamaService.unit)` frees it (its models stay, and the pool "
        + "uses them)"
    case (nil, 1): "`systemctl list-sockets` names the .socket unit that holds it: stop that"
    case (let owner, .some(let processID)):
      "end that process: \(ControlGroupOwner.remedy(against: processID, of: owner))"
    case (_, nil): "`sudo ss -tlnp` names it: stop it"
    }
  }
}
