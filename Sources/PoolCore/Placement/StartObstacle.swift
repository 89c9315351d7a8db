/// What stands against a start in a placement at present. It is looked at again with each reading of the GPUs.
package enum StartObstacle: Hashable, Sendable, CustomStringConvertible {
  /// The GPU has failed, or did a short while ago.
  case failed(gpu: String, reason: String)
  /// It fails over and over, or needs a reset that only an operator can tell of.
  case quarantined(gpu: String, reason: String)
  /// Others' processes hold more of the GPU than is taken for idle.
  case busy(gpu: String, by: [GPUReading.Process])
  /// What an instance left on the GPU is not free yet.
  case settling(gpu: String)
  /// Bytes, of all its GPUs together.
  case noRoom(needed: Int, free: Int)

  package enum Kind: String, Hashable, Sendable, CaseIterable {
    case failed, quarantined, busy, settling, noRoom
  }

  package var kind: Kind {
    switch self {
    case .failed: .failed
    case .quarantined: .quarantined
    case .busy: .busy
    case .settling: .settling
    case .noRoom: .noRoom
    }
  }

  package var description: String {
    switch self {
    case .failed(let gpu, let reason): "\(gpu): \(reason)"
    case .quarantined(let gpu, let reason): "\(gpu) is in quarantine: \(reason)"
    case .busy(let gpu, []): "\(gpu) was used by others a moment ago"
    case .busy(let gpu, let processes):
      "\(gpu) is used by \(processes.prefix(Self.named).map(\.description).joined(separator: ", "))"
        + (processes.count > Self.named ? " and \(processes.count - Self.named) more" : "")
    case .settling(let gpu): "the memory of \(gpu) is not free yet"
    case .noRoom(let needed, let free): "\(byteText(needed)) of GPU memory are needed, \(byteText(free)) are free"
    }
  }

  /// So many processes are named in a sentence.
  private static let named = 3
}
