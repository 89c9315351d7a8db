import Console
import ControlInterface

/// The GPUs, as the supervisor tells of them. What it doesn't know has no sample.
extension MetricsText {
  mutating func add(gpus: [DispatcherTypes.GPU]) {
    let states = Dictionary(grouping: gpus, by: \.state)
    add(
      "ollama_pool_gpus", .gauge, "GPUs and MIG slices by state; divided are those that are used through their slices.",
      samples: DispatcherTypes.GPUState.allCases.map {
        ([("state", $0.rawValue)], Double(states[$0]?.count ?? 0))
      })
    add(
      "ollama_pool_gpu_memory_bytes", .gauge,
      "Memory of each GPU, by whose it is; unlisted is what the driver lists no process for.",
      samples: gpus.flatMap { gpu in
        gpu.memoryByOwner.map { ([("gpu", gpu.name), ("owner", $0)], Double($1)) }
      })
    add(
      "ollama_pool_gpu_utilisation_ratio", .gauge, "The part of the time in which the GPU computed, from 0 to 1.",
      samples: gpus.compactMap { gpu in
        gpu.utilisationPercent.map { ([("gpu", gpu.name)], Double($0) / 100) }
      })
    add(
      "ollama_pool_gpu_temperature_celsius", .gauge, "The GPU's temperature.",
      samples: gpus.compactMap { gpu in gpu.temperatureCelsius.map { ([("gpu", gpu.name)], Double($0)) } })
  }

  mutating func add(gpuFaults: [(gpu: String, faults: [DispatcherTypes.GPUFaults])]) {
    add(
      "ollama_pool_gpu_faults_total", .counter,
      "Errors of each GPU, by their XID or what its readings began to show, since the supervisor began.",
      samples: gpuFaults.flatMap { gpu, faults in
        faults.map { ([("gpu", gpu), ("kind", $0.kind)], Double($0.count)) }
      })
  }
}

extension DispatcherTypes.GPU {
  /// Bytes. Where all is known, they add up to the GPU's memory.
  fileprivate var memoryByOwner: [(owner: String, bytes: Int)] {
    var parts: [(String, Int)] = []
    if let memoryOursBytes { parts.append(("pool", memoryOursBytes)) }
    if let memoryOthersBytes { parts.append(("others", memoryOthersBytes)) }
    guard let memoryUsedBytes else { return parts }
    if let memoryOursBytes, let memoryOthersBytes {
      let listed = memoryOursBytes.addingReportingOverflow(memoryOthersBytes)
      parts.append(("unlisted", listed.overflow ? 0 : max(0, memoryUsedBytes - listed.partialValue)))
    }
    if let memoryTotalBytes { parts.append(("free", max(0, memoryTotalBytes - memoryUsedBytes))) }
    return parts
  }
}
