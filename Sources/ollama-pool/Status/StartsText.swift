import ControlInterface

/// How long instances take to start, and what was read from the disk for them, as people read it.
enum StartsText {
  /// Beyond this the slowest placement is named: a slow bus, or a model of its own.
  private static let slow = 1.5
  private static let mostModels = 3

  /// The placement in the middle, and the slowest where it is much slower.
  static func times(_ status: PoolStatus) -> String? {
    let times = (status.startTimes ?? []).sorted { $0.totalSeconds < $1.totalSeconds }
    guard let slowest = times.last else { return nil }
    let usual = times[(times.count - 1) / 2]
    let parts =
      ["\(seconds(usual.startSeconds)) until it runs"]
      + (usual.discoverySeconds.map { ["\(seconds($0)) until it answers"] } ?? [])
      + usual.loads.map { "\(seconds($0.seconds)) for \($0.model)" }
    let other =
      slowest.totalSeconds > usual.totalSeconds * slow ? "; \(slowest.instance) \(seconds(slowest.totalSeconds))" : ""
    return Printable.text(
      "\(usual.instance) in \(seconds(usual.totalSeconds)): \(parts.joined(separator: ", "))\(other)")
  }

  /// The disk's speed by what was read last, and what was left alone.
  static func readModels(_ status: PoolStatus) -> String? {
    let models = status.readModels ?? []
    let texts = models.compactMap { model -> String? in
      if let problem = model.problem { return "\(model.model) not: \(problem)" }
      guard model.readBytes > 0, model.seconds > 0 else { return nil }
      let speed = Quantity.bytes(Int(Double(model.readBytes) / model.seconds))
      return "\(model.model) ahead, \(Quantity.bytes(model.readBytes)) at \(speed)/s"
    }
    guard !texts.isEmpty else { return nil }
    let more = texts.count > mostModels ? "; \(texts.count - mostModels) more" : ""
    return Printable.text(texts.prefix(mostModels).joined(separator: "; ") + more)
  }

  private static func seconds(_ time: Double) -> String { Quantity.duration(seconds: time) }
}
