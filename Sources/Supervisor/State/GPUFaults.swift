import FoundationEssentials
import PoolCore

/// GPUs that only a reset brings back: kept for the next supervisor, until the machine boots anew.
struct GPUFaults: Codable, Equatable, Sendable {
  /// The boot that they were seen in.
  var boot: String
  /// What happened, in words, by the GPU's UUID.
  var faults: [String: String]

  init(_ faults: [String: GPUFault], boot: String) {
    self.boot = boot
    self.faults = faults.mapValues(\.text)
  }

  /// What holds in this boot.
  func standing(inBoot boot: String) -> [String: GPUFault] {
    self.boot == boot ? faults.mapValues { GPUFault($0, .resetNeeded) } : [:]
  }

  /// Names the boot that this is.
  static var presentBoot: String {
    let text = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
    return text.map { String($0.prefix { $0 != "\n" }) } ?? ""
  }
}
