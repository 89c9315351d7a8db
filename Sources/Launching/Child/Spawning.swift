import CLinux
package import Glibc
import Systemd

/// Starting programs with posix_spawn.
package enum Spawning {
  /// Starts a program as the leader of a new session, with default signal dispositions and an empty signal mask.
  /// - Parameters:
  ///   - program: a path, or a name that is looked up on the PATH.
  ///   - arguments: with the program's own name first.
  ///   - descriptors: what it finds at which number; nil opens /dev/null there.
  /// - Returns: its process id, or the errno of what failed.
  package static func spawn(
    _ program: String, _ arguments: [String], environment: [String],
    descriptors: [(own: Int32?, inProgram: Int32)]
  ) -> Result<pid_t, Errno> {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (own, inProgram) in descriptors {
      if let own {
        posix_spawn_file_actions_adddup2(&actions, own, inProgram)
      } else {
        posix_spawn_file_actions_addopen(&actions, inProgram, "/dev/null", O_RDWR, 0)
      }
    }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    let flags = Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK) | Int32(CLINUX_POSIX_SPAWN_SETSID)
    posix_spawnattr_setflags(&attributes, Int16(flags))

    let argumentPointers = arguments.map { strdup($0) } + [nil]
    let variablePointers = environment.map { strdup($0) } + [nil]
    defer { for pointer in argumentPointers + variablePointers { free(pointer) } }
    var processID: pid_t = 0
    let result = posix_spawnp(&processID, program, &actions, &attributes, argumentPointers, variablePointers)
    return result == 0 ? .success(processID) : .failure(Errno(code: result))
  }
}

package struct Errno: Error, Equatable {
  var code: Int32

  /// Of the call before.
  static var last: Errno { Errno(code: errno) }

  package var text: String { describe(errno: code) }
}

/// This process's variables, "NAME=value" each.
package var ownEnvironment: [String] {
  var entries: [String] = []
  var next = environ
  while let entry = next.pointee {
    entries.append(String(cString: entry))
    next += 1
  }
  return entries
}

/// A pair of connected descriptors that no program inherits.
package struct DescriptorPair {
  package var first: Int32
  package var second: Int32

  /// Both ends read and write.
  static func sockets() throws(LaunchError) -> DescriptorPair {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
      throw LaunchError(.refused, "no socket for an instance's guard: \(Errno(code: errno).text)")
    }
    return DescriptorPair(first: ends[0], second: ends[1])
  }

  /// The first reads what the second writes. (A program can reopen a pipe through /dev/stderr, and no socket.)
  package static func pipe() throws(LaunchError) -> DescriptorPair {
    var ends: [Int32] = [-1, -1]
    guard Glibc.pipe(&ends) == 0 else {
      throw LaunchError(.refused, "no pipe for an instance's output: \(Errno(code: errno).text)")
    }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return DescriptorPair(first: ends[0], second: ends[1])
  }

  func close() {
    Glibc.close(first)
    Glibc.close(second)
  }
}

/// How a process ended, as waitpid tells it.
enum ProcessEnd: Equatable {
  case exited(Int32)
  case killed(signal: Int32)

  init(waitStatus: Int32) {
    let signal = waitStatus & 0x7f
    self = signal == 0 ? .exited((waitStatus >> 8) & 0xff) : .killed(signal: signal)
  }

  /// As a shell gives it on.
  var exitStatus: Int32 {
    switch self {
    case .exited(let status): status
    case .killed(let signal): 128 + signal
    }
  }

  var reason: String {
    switch self {
    case .exited(let status): "exit status \(status)"
    case .killed(let signal): "killed by \(SignalName.of(signal))"
    }
  }
}
