import ControlInterface
import PoolCore
import Varlink

/// Checks what `ReportFleet` brings: it becomes names and labels of metrics.
enum FleetCheck {
  /// - Throws: `InvalidParameter` with the path of the first field that can't be.
  static func checked(_ report: DispatcherCalls.ReportFleet) throws(VarlinkErrorReply) -> DispatcherCalls.ReportFleet {
    for (field, count) in [
      ("desired", report.desired), ("backingOff", report.backingOff), ("quarantined", report.quarantined),
      ("cordoned", report.cordoned), ("failedStarts", report.failedStarts ?? 0), ("degraded", report.degraded ?? 0),
      ("degradations", report.degradations ?? 0),
    ] {
      try require(count >= 0, field)
    }
    let gpus = report.gpus ?? []
    try require(gpus.count <= DispatcherCalls.ReportFleet.mostGPUs, "gpus")
    var names: Set<String> = []
    for (index, gpu) in gpus.enumerated() {
      let path = "gpus[\(index)]"
      try require(isLabel(gpu.name) && names.insert(gpu.name).inserted, "\(path).name")
      for (field, value) in [
        ("memoryTotalBytes", gpu.memoryTotalBytes), ("memoryUsedBytes", gpu.memoryUsedBytes),
        ("memoryOursBytes", gpu.memoryOursBytes), ("memoryOthersBytes", gpu.memoryOthersBytes),
        ("utilisationPercent", gpu.utilisationPercent),
      ] {
        try require((value ?? 0) >= 0, "\(path).\(field)")
      }
      try check(gpu.faults, "\(path).faults")
    }
    return report
  }

  private static func check(_ faults: [DispatcherTypes.GPUFaults], _ path: String) throws(VarlinkErrorReply) {
    try require(faults.count <= DispatcherTypes.GPUFaults.mostKinds, path)
    var kinds: Set<String> = []
    for (index, fault) in faults.enumerated() {
      try require(isLabel(fault.kind) && kinds.insert(fault.kind).inserted, "\(path)[\(index)].kind")
      try require(fault.count >= 0, "\(path)[\(index)].count")
    }
  }

  private static func require(_ condition: Bool, _ path: String) throws(VarlinkErrorReply) {
    if !condition { throw .invalidParameter(path) }
  }

  /// 1 to 64 printable characters of ASCII.
  private static func isLabel(_ text: String) -> Bool { WantedSet.isInvocation(text) }
}
