import Foundation
import Glibc
import Synchronization

/// One end of a pipe, above the standard descriptors and closed in programs that are started.
struct Descriptor: Sendable {
  let number: Int32

  func close() { Glibc.close(number) }
}

/// Held from the making of a program's pipes until it has started: Glibc's pipe2 is out of reach, and a program
/// started in between would inherit the ends and keep them open.
let spawning = Mutex(())

struct PipeEnds {
  let read: Descriptor
  let write: Descriptor

  init() throws {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw SystemCallFailed("pipe") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    read = Descriptor(number: ends[0])
    write = Descriptor(number: ends[1])
  }
}

/// Starts a program in its own process group with default signal dispositions and an empty signal mask.
/// Foundation's `Process` would do neither, and NIO ignores SIGPIPE in the whole process.
func spawnProgram(
  _ program: String, _ arguments: [String], variables: [String: String],
  descriptors: [(own: Int32, inProgram: Int32)]
) throws -> Int32 {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  // First out of the way of the target numbers, then to their places: no entry overwrites another's source.
  var copies: [Int32] = []
  defer { for copy in copies { close(copy) } }
  let firstFree = (descriptors.map(\.inProgram).max() ?? 2) + 1
  for descriptor in descriptors {
    let copy = duplicate(descriptor.own, from: firstFree)
    guard copy >= 0 else { throw SystemCallFailed("fcntl(\(descriptor.own), F_DUPFD_CLOEXEC)") }
    copies.append(copy)
    posix_spawn_file_actions_adddup2(&actions, copy, descriptor.inProgram)
  }
  // NIO's sockets have no close-on-exec flag: a program would hold the connections of the tests that run meanwhile,
  // and their peers would never see them close. Closing what is not open does no harm below the limit.
  var limit = rlimit()
  getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  let given = Set(descriptors.map(\.inProgram))
  for number in 3..<Int32(min(limit.rlim_cur, 4096)) where !given.contains(number) {
    posix_spawn_file_actions_addclose(&actions, number)
  }

  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var all = sigset_t()
  sigfillset(&all)
  var none = sigset_t()
  sigemptyset(&none)
  posix_spawnattr_setsigdefault(&attributes, &all)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setpgroup(&attributes, 0)
  posix_spawnattr_setflags(
    &attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))

  let argumentPointers = ([program] + arguments).map { strdup($0) } + [nil]
  let variablePointers = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
  defer { for pointer in argumentPointers + variablePointers { free(pointer) } }
  var processID: pid_t = 0
  let result = posix_spawnp(&processID, program, &actions, &attributes, argumentPointers, variablePointers)
  guard result == 0 else { throw SystemCallFailed("starting \(program)", errno: result) }
  return processID
}

private func duplicate(_ descriptor: Int32, from lowest: Int32) -> Int32 {
  fcntl(descriptor, F_DUPFD_CLOEXEC, lowest)
}

/// All processes that descend from one, as /proc shows them now.
func processIDs(below root: Int32) -> [Int32] {
  let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
  var children: [Int32: [Int32]] = [:]
  for processID in entries.compactMap({ Int32($0) }) {
    // "PID (name) state PPID …", where the name may hold spaces and parentheses.
    guard let text = try? String(contentsOfFile: "/proc/\(processID)/stat", encoding: .utf8),
      let nameEnd = text.lastIndex(of: ")")
    else { continue }
    let fields = text[nameEnd...].split(separator: " ")
    if fields.count > 2, let parent = Int32(fields[2]) { children[parent, default: []].append(processID) }
  }
  var found: [Int32] = []
  var next = children[root] ?? []
  while let processID = next.popLast() {
    found.append(processID)
    next += children[processID] ?? []
  }
  return found
}
