import Glibc
package import PoolCore

/// Whose a process is that uses a GPU.
package enum ProcessOwner: Hashable, Sendable {
  case instance(InstanceID)
  /// Somebody else's. `command` is its program's name: printable, at most 64 characters.
  case other(command: String)
  /// There is no such process here (it has ended, or lives in another container), or it can't be seen.
  case unknown
}

extension ProcessOwner {
  static func other(_ processID: pid_t, readsArguments: Bool) -> ProcessOwner {
    let command =
      readsArguments ? ProcessFiles.command(of: processID) : ProcessFiles.kernelName(of: processID)
    return command.map { .other(command: $0) } ?? .unknown
  }
}
