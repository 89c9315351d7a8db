package import Glibc
package import Systemd

/// A process of this machine, as far as /proc shows it to anybody.
package struct SeenProcess: Equatable, Sendable {
  package var processID: pid_t
  /// Its program's name: printable, at most 64 characters; of one that hangs the kernel's, of 15.
  package var command: String
  /// What keeps it running; nil where nothing does.
  package var owner: ControlGroupOwner?
  /// Whether it is an instance of some pool's, or belongs to one.
  package var isPools: Bool

  /// Bounds the way up to the first process.
  private static let mostAncestors = 32

  package init(processID: pid_t, command: String, owner: ControlGroupOwner? = nil, isPools: Bool = false) {
    self.processID = processID
    self.command = command
    self.owner = owner
    self.isPools = isPools
  }

  /// - Parameter limit: for what it was started with, which is in its memory: who looks there while it hangs in the
  ///   kernel hangs as well.
  /// - Returns: nil where there is no such process, or it can't be seen.
  package static func look(
    at processID: pid_t, root: String = "/proc", within limit: Duration = .seconds(1)
  ) async -> SeenProcess? {
    let asked = await patiently(processID, limit) { ProcessFiles.command(of: processID, root: root) }
    guard let command = asked ?? ProcessFiles.kernelName(of: processID, root: root) else { return nil }
    return SeenProcess(
      processID: processID, command: command, owner: ProcessFiles.owner(of: processID, root: root),
      isPools: isPools(processID, root))
  }

  /// Every `ollama serve` that can be seen and does not hang, in the order of their numbers.
  package static func ollamaServers(root: String = "/proc", within limit: Duration = .seconds(1)) async -> [SeenProcess]
  {
    var servers: [SeenProcess] = []
    for processID in FolderList.names(in: root).compactMap({ pid_t($0) }).sorted()
    where ProcessFiles.kernelName(of: processID, root: root) == "ollama" {
      let arguments = await patiently(processID, limit) { ProcessFiles.arguments(of: processID, root: root) }
      guard arguments?.dropFirst().first == "serve" else { continue }
      servers += [await look(at: processID, root: root, within: limit)].compactMap(\.self)
    }
    return servers
  }

  private static func patiently<Value: Sendable>(
    _ processID: pid_t, _ limit: Duration, _ question: @escaping @Sendable () -> Value
  ) async -> Value? {
    await Patience.files.answer(about: "the arguments of process \(processID)", within: limit, of: question)
  }

  /// By its unit, or because a pool's process is above it.
  private static func isPools(_ processID: pid_t, _ root: String) -> Bool {
    if case .unit? = ProcessFiles.unit(of: processID, root: root) { return true }
    var next = processID
    for _ in 0..<mostAncestors {
      if ProcessFiles.kernelName(of: next, root: root) == InstanceGuard.name { return true }
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
