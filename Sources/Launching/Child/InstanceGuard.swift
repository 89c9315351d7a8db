import CLinux
import Glibc

/// The process that stands between the pool and an instance that is a child process, so that nothing of the instance
/// outlives the pool, also when the pool is killed by SIGKILL.
///
/// It is the pool's own executable with a hidden subcommand:
///
///     ollama-pool instance-guard [--cpus=0,1] [--memory-of-node=0] GRACE EXECUTABLE [ARGUMENT…]
///
/// - The options keep the instance, and the guard, to these CPUs, and prefer this NUMA node's memory. Where that fails
///   the guard says so among the instance's output, and starts it all the same.
/// - GRACE: milliseconds from SIGTERM to SIGKILL.
/// - Standard input: a socket to the pool. ``GuardOrder`` comes from there, and its end means that the pool is gone.
///   ``GuardMessage`` goes there.
/// - Standard error: the instance's output, both streams.
/// - The environment is the instance's.
///
/// It has one thread and allocates little. The instance gets a session of its own. Whatever descends from it stays
/// below the guard, a subreaper, however it detaches itself; when the instance has ended, by itself or by order, all
/// that is left is killed. SIGTERM to the guard is an order to stop. The exit status is the instance's (128 + n for
/// signal n), 127 if it could not be executed, 64 for other arguments.
package struct InstanceGuard {
  package static let subcommand = "instance-guard"
  /// By this people know it in `ps` and `top`, and the pool its own.
  static let name = "ollama-pool"
  /// How long processes may take to die of SIGKILL: a driver may hold them in the kernel.
  private static let killLimit = Duration.seconds(10)

  private enum Stage {
    /// Until the instance ends, or an order comes.
    case running
    /// It got SIGTERM. Goes to killing when it has ended, and at the deadline.
    case stopping(deadline: ContinuousClock.Instant)
    /// All that is left gets SIGKILL, again and again, until nothing is left or the deadline comes.
    case killing(deadline: ContinuousClock.Instant)
  }

  private let grace: Duration
  private let pool = STDIN_FILENO
  private let wake: Int32
  private let instance: pid_t
  private var instanceEnd: ProcessEnd?
  private var stage = Stage.running
  private var poolIsThere = true

  /// Becomes a guard if the arguments ask for it, and does not return then. To be called first thing in the program's
  /// `main`, while it has one thread.
  package static func takeOver(ifAskedBy arguments: [String] = CommandLine.arguments) {
    guard arguments.count > 1, arguments[1] == subcommand else { return }
    exit(run(Array(arguments.dropFirst(2))))
  }

  /// - Parameter arguments: what follows the subcommand.
  /// - Returns: the exit status.
  static func run(_ arguments: [String]) -> Int32 {
    let options = arguments.prefix { $0.hasPrefix("--") }
    let arguments = Array(arguments.dropFirst(options.count))
    guard arguments.count >= 2, let grace = Int64(arguments[0]), grace >= 0 else {
      return complain(
        "usage: \(subcommand) [--cpus=LIST] [--memory-of-node=NUMBER] GRACE EXECUTABLE [ARGUMENT…] "
          + "(started by the pool, not by people)", 64)
    }
    clinux_set_name(name)
    closeInheritedDescriptors()
    for option in options { keep(to: option) }
    guard let wake = Wake.install() else { return complain("no socket: \(Errno(code: errno).text)", 71) }
    guard clinux_become_subreaper() == 0 else {
      return complain("can't become a subreaper: \(Errno(code: errno).text)", 71)
    }
    switch Spawning.spawn(
      arguments[1], Array(arguments.dropFirst()), environment: ownEnvironment,
      descriptors: [(nil, STDIN_FILENO), (STDERR_FILENO, STDOUT_FILENO)])
    {
    case .failure(let error):
      tell(.failed(error))
      return 127
    case .success(let instance):
      tell(.started(instance))
      var watch = InstanceGuard(grace: .milliseconds(grace), wake: wake, instance: instance)
      let end = watch.untilNothingIsLeft()
      tell(.ended(end))
      return end.exitStatus
    }
  }

  private init(grace: Duration, wake: Int32, instance: pid_t) {
    self.grace = grace
    self.wake = wake
    self.instance = instance
  }

  private mutating func untilNothingIsLeft() -> ProcessEnd {
    while true {
      let somethingIsLeft = reap()
      if instanceEnd != nil, !isKilling { stage = .killing(deadline: .now + Self.killLimit) }
      if !somethingIsLeft { break }
      if case .stopping(let deadline) = stage, deadline <= .now { stage = .killing(deadline: .now + Self.killLimit) }
      if case .killing(let deadline) = stage {
        if deadline <= .now { break }
        for processID in ProcessTree.descendants(of: getpid()) { kill(processID, SIGKILL) }
      }
      wait()
    }
    return instanceEnd ?? .killed(signal: SIGKILL)
  }

  private var isKilling: Bool { if case .killing = stage { true } else { false } }

  /// Takes the statuses of all that has ended.
  /// - Returns: whether there are children still.
  private mutating func reap() -> Bool {
    while true {
      var status: Int32 = 0
      let processID = waitpid(-1, &status, WNOHANG)
      if processID == instance { instanceEnd = ProcessEnd(waitStatus: status) }
      if processID == 0 { return true }
      if processID < 0, errno != EINTR { return false }
    }
  }

  /// Waits for an order, a signal, the end of a child, or the next deadline.
  private mutating func wait() {
    var sources = [
      pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
      pollfd(fd: poolIsThere ? pool : -1, events: Int16(POLLIN), revents: 0),
    ]
    guard poll(&sources, 2, pollTimeout) > 0 else { return }
    if sources[0].revents != 0 {
      for byte in receive(wake) ?? [] where byte == Wake.stop { stop() }
    }
    guard sources[1].revents != 0 else { return }
    guard let orders = receive(pool) else {
      poolIsThere = false
      stop()
      return
    }
    for order in orders {
      switch GuardOrder(rawValue: order) {
      case .stop: stop()
      case .kill: if !isKilling { stage = .killing(deadline: .now + Self.killLimit) }
      case nil: break
      }
    }
  }

  private var pollTimeout: Int32 {
    switch stage {
    case .running: -1
    // New processes may appear while others are being killed.
    case .killing: 20
    case .stopping(let deadline): (deadline - .now).pollTimeout
    }
  }

  private mutating func stop() {
    guard case .running = stage, instanceEnd == nil else { return }
    stage = .stopping(deadline: .now + grace)
    kill(instance, SIGTERM)
    // One that was stopped by SIGSTOP would never see it.
    kill(instance, SIGCONT)
  }

  // MARK: CPUs and memory

  static func options(_ local: LocalResources) -> [String] {
    (local.cpus.isEmpty ? [] : ["--cpus=" + local.cpus.map(String.init).joined(separator: ",")])
      + (local.memoryNode.map { ["--memory-of-node=\($0)"] } ?? [])
  }

  private static func keep(to option: String) {
    let words = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let value = words.count == 2 ? words[1] : ""
    let result: Int32
    switch words[0] {
    case "--cpus":
      let cpus = MachineResources.numbers(value)
      var mask = [UInt](repeating: 0, count: cpus.max().map { $0 / UInt.bitWidth + 1 } ?? 0)
      for cpu in cpus { mask[cpu / UInt.bitWidth] |= 1 << (cpu % UInt.bitWidth) }
      result = clinux_run_on_cpus(mask, UInt(mask.count))
    case "--memory-of-node": result = UInt32(value).map(clinux_prefer_memory_of_node) ?? -1
    default: result = -1
    }
    if result != 0 { _ = complain("\(option) has no effect: \(Errno(code: errno).text)", 0) }
  }

  // MARK: Descriptors

  /// nil at the end of the stream.
  private func receive(_ descriptor: Int32) -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 64)
    let count = read(descriptor, &buffer, buffer.count)
    if count < 0 { return errno == EINTR || errno == EAGAIN ? [] : nil }
    return count == 0 ? nil : Array(buffer.prefix(count))
  }

  private static func tell(_ message: GuardMessage) {
    // A pool that is gone reads nothing.
    _ = message.line.withCString { write(STDIN_FILENO, $0, strlen($0)) }
  }

  private static func complain(_ text: String, _ status: Int32) -> Int32 {
    _ = "\(subcommand): \(text)\n".withCString { write(STDERR_FILENO, $0, strlen($0)) }
    return status
  }

  /// All but the standard ones: the pool's own, if a thread of it opened some while another one started this process,
  /// and those that the pool itself was started with.
  private static func closeInheritedDescriptors() {
    let open = FolderList.names(in: "/proc/self/fd").compactMap { Int32($0) }
    for descriptor in open where descriptor > STDERR_FILENO { close(descriptor) }
  }
}

/// Signals made readable: a handler may do little more than write a byte.
private enum Wake {
  static let stop = UInt8(ascii: "s")
  private static let childEnded = UInt8(ascii: "c")
  nonisolated(unsafe) private static var writeEnd: Int32 = -1

  /// - Returns: what becomes readable at each signal; nil with errno.
  static func install() -> Int32? {
    guard let pair = try? DescriptorPair.sockets() else { return nil }
    for end in [pair.first, pair.second] { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
    writeEnd = pair.second
    signal(SIGPIPE, SIG_IGN)
    for number in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] { signal(number) { _ in Wake.write(Wake.stop) } }
    signal(SIGCHLD) { _ in Wake.write(Wake.childEnded) }
    var none = sigset_t()
    sigemptyset(&none)
    sigprocmask(SIG_SETMASK, &none, nil)
    return pair.first
  }

  private static func write(_ byte: UInt8) {
    let code = errno
    var byte = byte
    _ = Glibc.write(writeEnd, &byte, 1)
    errno = code
  }
}
