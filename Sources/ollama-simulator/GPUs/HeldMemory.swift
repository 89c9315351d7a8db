import ArgumentParser

/// What running programs hold of simulated GPUs. Their command lines say it, so that it ends with them, however they
/// end, and so that nothing has to be written where an instance's sandbox lets it write nothing.
enum HeldMemory {
  /// The options that hold memory. They are parsed so that they may be given; `Sources/SimulatedNVML` obeys them.
  struct Options: ParsableArguments {
    @Option(help: .hidden) var gpus: String?
    @Option(help: .hidden) var holds: [String] = []
  }

  struct Share: Sendable, Equatable {
    let uuid: String
    let bytes: Int
  }

  static func arguments(_ shares: [Share], in folder: String) -> [String] {
    shares.isEmpty ? [] : ["--gpus", folder] + shares.flatMap { ["--holds", "\($0.uuid)=\($0.bytes)"] }
  }

  /// Bytes by UUID, of all programs that can be seen.
  static func now(in folder: String) -> [String: Int] {
    var held: [String: Int] = [:]
    for name in SmallFile.names(in: "/proc") where name.allSatisfy(\.isNumber) {
      for share in SmallFile.read("/proc/\(name)/cmdline", limit: 8192).map({ shares($0, in: folder) }) ?? [] {
        held[share.uuid, default: 0] += share.bytes
      }
    }
    return held
  }

  private static func shares(_ commandLine: [UInt8], in folder: String) -> [Share] {
    guard commandLine.firstRange(of: Array("--holds".utf8)) != nil else { return [] }
    let words = commandLine.split(separator: 0, omittingEmptySubsequences: false).map {
      String(decoding: $0, as: UTF8.self)
    }
    var shares: [Share] = []
    var isHere = false
    for (word, value) in zip(words, words.dropFirst()) {
      if word == "--gpus" { isHere = value == folder }
      let parts = value.split(separator: "=", maxSplits: 1)
      guard word == "--holds", isHere, parts.count == 2, let bytes = Int(parts[1]), bytes >= 0 else { continue }
      shares.append(Share(uuid: String(parts[0]), bytes: bytes))
    }
    return shares
  }
}
