extension GPUEventSource {
  /// Registers for the events of these GPUs and lets go again: whether errors will be told as they happen.
  ///
  /// A driver that hangs holds it up.
  /// - Returns: the UUIDs of those that have events, of slices those of their GPUs, and why some of NVIDIA's have none,
  ///   if that is a fault.
  package static func trial(
    _ gpus: [GPU], nvmlLibrary: String = "libnvidia-ml.so.1"
  ) -> (registered: Set<String>, problem: InventoryProblem?) {
    let wanted = Set(gpus.filter { $0.vendor == .nvidia }.map { $0.parent ?? $0.uuid })
    guard !wanted.isEmpty else { return ([], nil) }
    do throws(InventoryProblem) {
      let session = try NVMLEventSession(NVMLLibrary(path: nvmlLibrary))
      let problem = session.register(wanted)
      return (session.uuids, problem)
    } catch {
      return ([], error)
    }
  }
}
