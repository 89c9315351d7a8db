extension GPUEventSource {
  /// Registers for the events of these GPUs and lets go again: whether errors will be told as they happen.
  ///
  /// A driver that hangs holds it up.
  /// - Returns: the UUIDs of those that have events, and why some of NVIDIA's have none, if that is a fault.
  package static func trial(
    _ gpus: [GPU], nvmlLibrary: String = "libnvidia-ml.so.1"
  ) -> (registered: Set<String>, problem: InventoryProblem?) {
    let wanted = gpus.filter { gpu in
      if case .slice = gpu.kind { return false }
      return gpu.vendor == .nvidia
    }
    guard !wanted.isEmpty else { return ([], nil) }
    do throws(InventoryProblem) {
      let session = try NVMLEventSession(nvmlLibrary)
      let problem = session.register(Set(wanted.map(\.uuid)))
      return (session.uuids, problem)
    } catch {
      return ([], error)
    }
  }
}
