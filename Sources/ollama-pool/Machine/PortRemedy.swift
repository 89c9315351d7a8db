import Dispatcher

extension PortHolder {
  /// What frees a port from its holder.
  static func remedy(against holder: PortHolder?) -> String {
    switch (holder?.unit, holder?.processID) {
    case ("ollama.service", _):
      "`systemctl disable --now ollama.service` frees it (its models stay, and the pool uses them)"
    case (.some(let unit), _): "`systemctl stop \(unit)` frees it"
    case (nil, 1): "`systemctl list-sockets` names the .socket unit that holds it: stop that"
    case (nil, .some(let processID)): "end that process (`kill \(processID)`)"
    case (nil, nil): "`sudo ss -tlnp` names it: stop it"
    }
  }
}
