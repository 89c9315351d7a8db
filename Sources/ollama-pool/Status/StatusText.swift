import ControlInterface

/// The status as people read it: what matters first, then a line for each instance.
enum StatusText {
  /// - Parameter namesMissing: whether a daemon that can't be asked is named here too, and not only by the command's
  ///   failure.
  static func render(_ status: PoolStatus, on terminal: Terminal, namesMissing: Bool) -> String {
    let facts = [
      ("Pool", pool(status)), ("Queue", queue(status)), ("Scale", scale(status)), ("Starts", StartsText.times(status)),
      ("Endpoint", endpoint(status)), ("Models", ModelsText.store(status)), ("Read", StartsText.readModels(status)),
    ]
    var lines = facts.compactMap { title, text in text.map { fact(title, $0) } }
    lines += ModelsText.reloads(status.reloads ?? []).enumerated().map { fact($0 == 0 ? "Reloads" : "", $1) }
    let groups = status.instances.compactMap { instance in instance.placement.map { "\(instance.id) \($0)" } }
    if !groups.isEmpty { lines.append(fact("Groups", Printable.text(groups.joined(separator: ", ")))) }
    lines += status.problems.map { fact("Problem", Printable.text($0)) }
    if namesMissing {
      lines += [status.dispatcher, status.supervisor].compactMap(\.error).map { fact("Problem", $0) }
    }
    lines += status.remarks.map { fact("Note", Printable.text($0)) }
    if !status.instances.isEmpty { lines += ["", table(status.instances).text(on: terminal)] }
    return lines.joined(separator: "\n")
  }

  private static func fact(_ title: String, _ text: String) -> String {
    title + String(repeating: " ", count: max(1, 10 - title.count)) + text
  }

  private static func pool(_ status: PoolStatus) -> String? {
    let ready = status.instances.filter { $0.state == "ready" }.count
    let others = Dictionary(grouping: status.instances.map(\.state).filter { $0 != "ready" && $0 != "absent" }) { $0 }
    let parts =
      ["\(Quantity.count(ready, "instance")) ready"]
      + others.keys.sorted().map { "\(others[$0]?.count ?? 0) \(words($0))" }
    return "\(status.health.rawValue): \(parts.joined(separator: ", "))"
  }

  private static func queue(_ status: PoolStatus) -> String? {
    guard let depth = status.queueDepth, let inFlight = status.inFlight, let most = status.maxConcurrent else {
      return nil
    }
    let wait = status.oldestWaitSeconds.map { ", the oldest for \(Quantity.duration(seconds: $0))" } ?? ""
    let outside = status.outsideDepth.flatMap { $0 > 0 ? "; \($0) more in front ends" + names(status) : nil } ?? ""
    return "\(depth) waiting\(wait); \(inFlight) in flight of at most \(most) at once\(outside)"
  }

  /// The front ends in which requests wait, the first three of them.
  private static func names(_ status: PoolStatus) -> String {
    let waiting = (status.frontEnds ?? []).filter { $0.depth > 0 }
    let named = waiting.prefix(3).map { "\(Printable.text($0.name)) \($0.depth)" } + (waiting.count > 3 ? ["…"] : [])
    return named.isEmpty ? "" : " (\(named.joined(separator: ", ")))"
  }

  private static func scale(_ status: PoolStatus) -> String? {
    guard let desired = status.desired, let minimum = status.minimum, let maximum = status.maximum else { return nil }
    var bounds = minimum == maximum ? "always \(minimum)" : "\(minimum) to \(maximum)"
    if status.isOverridden == true {
      bounds += status.overrideSecondsLeft.map { ", set for \(Quantity.duration(seconds: $0)) more" } ?? ", set by hand"
    }
    let reason = status.desiredReason.flatMap { $0.isEmpty ? nil : ": " + Printable.text($0) } ?? ""
    return "\(Quantity.count(desired, "instance")) wanted (\(bounds))\(reason)"
  }

  private static func endpoint(_ status: PoolStatus) -> String? {
    guard status.dispatcher.running else { return nil }
    let metrics = status.metrics.map { ", metrics at \(URLText.complete($0))" } ?? ""
    return status.endpoints.map(URLText.complete).joined(separator: ", ") + metrics
  }

  private static func table(_ instances: [PoolStatus.Instance]) -> Table {
    var table = Table([
      "INSTANCE", "STATE", "GPU", "URL", "UNIT", .number("PID"), .number("SLOTS"), .number("ACTIVE"), .number("AGE"),
      "REASON",
    ])
    table.rows = instances.map { instance in
      let gpus = instance.gpuLabels.isEmpty ? instance.gpus : instance.gpuLabels
      return [
        Table.Cell(instance.id), Table.Cell(words(instance.state), style: style(of: instance.state)),
        Table.Cell(gpus.joined(separator: ",")), Table.Cell(instance.url), Table.Cell(instance.unit),
        Table.Cell(instance.mainPID.map(Int.init)), Table.Cell(instance.slots), Table.Cell(instance.active),
        Table.Cell(instance.runningSeconds.map(Quantity.duration)), Table.Cell(reason(instance)),
      ]
    }
    return table
  }

  private static func reason(_ instance: PoolStatus.Instance) -> String? {
    guard let retry = instance.retryInSeconds else { return instance.reason }
    let next = "next start in \(Quantity.duration(seconds: retry))"
    return instance.reason.map { "\($0); \(next)" } ?? next
  }

  /// A state as people read it.
  private static func words(_ state: String) -> String { state == "backingOff" ? "backing off" : state }

  private static func style(of state: String) -> Table.Style {
    switch state {
    case "ready": .good
    case "launching", "starting", "draining", "stopping", "cordoned": .fair
    case "unhealthy", "degraded", "backingOff", "quarantined": .bad
    default: .plain
    }
  }
}

enum URLText {
  /// Addresses come with or without their scheme.
  static func complete(_ address: String) -> String {
    address.contains("://") ? address : "http://\(address)"
  }
}
