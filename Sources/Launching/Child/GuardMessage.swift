/// What an instance's guard tells the pool: one line each.
///
///     started 1234      the instance runs, with this process id
///     failed 2          its program could not be executed, with this errno; the guard ends
///     exited 1          the instance ended with this status, and nothing of it is left; the guard ends
///     killed 9          likewise, by this signal
enum GuardMessage: Equatable {
  case started(Int32)
  case failed(Errno)
  case ended(ProcessEnd)

  init?(line: some StringProtocol) {
    let words = line.split(separator: " ")
    guard words.count == 2, let number = Int32(words[1]) else { return nil }
    switch words[0] {
    case "started": self = .started(number)
    case "failed": self = .failed(Errno(code: number))
    case "exited": self = .ended(.exited(number))
    case "killed": self = .ended(.killed(signal: number))
    default: return nil
    }
  }

  var line: String {
    switch self {
    case .started(let processID): "started \(processID)\n"
    case .failed(let error): "failed \(error.code)\n"
    case .ended(.exited(let status)): "exited \(status)\n"
    case .ended(.killed(let signal)): "killed \(signal)\n"
    }
  }
}

/// What the pool tells the guard: a byte each. The end of the stream means the same as ``stop``.
enum GuardOrder: UInt8 {
  /// SIGTERM, and SIGKILL after the grace.
  case stop = 0x73
  case kill = 0x6b
}
