package import Glibc
package import Systemd

/// A process of this machine, as far as /proc shows it to anybody, and without a look into its memory: who looks there
/// while it hangs in the kernel hangs as well.
package struct SeenProcess: Equatable, Sendable {
  package var processID: pid_t
  /// The kernel's name of it: printable, at most 15 characters.
  package var command: String
  /// What keeps it running; nil where nothing does.
  package var owner: ControlGroupOwner?
  /// Whether it is an instance of some pool's, or belongs to one.
  package var isPools: Bool

  /// Bounds the way up to the first process.
  private static let mostAncestors = 32
  private static let poolsCommand = "ollama-pool"

  package init(processID: pid_t, command: String, owner: ControlGroupOwner? = nil, isPools: Bool = false) {
    self.processID = processID
    self.command = command
    self.owner = owner
    self.isPools = isPools
  }

  /// nil where there is no such process, or it can't be seen.
  package init?(_ processID: pid_t, root: String = "/proc") {
    guard let command = ProcessFiles.kernelName(of: processID, root: root) else { return nil }
    self.processID = processID
    self.command = command
    owner = ProcessFiles.owner(of: processID, root: root)
    isPools = Self.isPools(processID, root)
  }

  /// Every `ollama serve` that can be seen, in the order of their numbers.
  package static func ollamaServers(root: String = "/proc") -> [SeenProcess] {
    FolderList.names(in: root).compactMap { pid_t($0) }.sorted().compactMap { processID in
      guard ProcessFiles.kernelName(of: processID, root: root) == "ollama",
        ProcessFiles.arguments(of: processID, root: root).dropFirst().first == "serve"
      else { return nil }
      return SeenProcess(processID, root: root)
    }
  }

  /// By its unit, or because a pool's process is above it.
  private static func isPools(_ processID: pid_t, _ root: String) -> Bool {
    if case .unit? = ProcessFiles.unit(of: processID, root: root) { return true }
    var next = processID
    for _ in 0..<mostAncestors {
      if ProcessFiles.kernelName(of: next, root: root) == poolsCommand { return true }
      guard let parent = ProcessFiles.parent(of: next, root: root), parent > 1 else { return false }
      next = parent
    }
    return false
  }
}

extension SeenProcess: CustomStringConvertible {
  package var description: String {
    "\(command) (process \(processID)\(owner.map { ", \($0)" } ?? ""))"
  }
}
