import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// The children of this process that stand for `llama-server`, for whoever ends the process.
final class RunnerRegistry: Sendable {
  private let processIDs = Mutex<Set<pid_t>>([])

  fileprivate func add(_ id: pid_t) { processIDs.withLock { _ = $0.insert(id) } }
  fileprivate func remove(_ id: pid_t) { processIDs.withLock { _ = $0.remove(id) } }

  /// Kills them all, as Ollama does when it is told to stop.
  func killAll() { processIDs.withLock { for id in $0 { kill(id, SIGKILL) } } }
}

/// A child process that stands for the `llama-server` of one loaded model. Belongs to the event loop.
final class RunnerProcess {
  let processID: pid_t
  private let registry: RunnerRegistry
  private var isOver = false
  /// Called once when the process ends without having been asked to.
  var onDeath: (() -> Void)?

  /// Starts one. That it ends shows in the closing of its standard output, on which it never writes.
  /// - Parameter held: the arguments that hold memory of simulated GPUs.
  init(
    model: String, held: [String], registry: RunnerRegistry, eventLoop: any EventLoop
  ) throws(SimulatorError) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw SimulatorError(call: "pipe", errno: errno) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[1]) }
    do throws(SimulatorError) {
      processID = try Self.spawn(model: model, held, standardOutput: ends[1])
    } catch {
      close(ends[0])
      throw error
    }
    self.registry = registry
    registry.add(processID)
    watch(ends[0], eventLoop)
  }

  private static func spawn(model: String, _ held: [String], standardOutput: Int32) throws(SimulatorError) -> pid_t {
    let path = try Executable.path()
    keepDescriptorsFromChildren()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, standardOutput, STDOUT_FILENO)
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // The server ignores some signals; its runners must not.
    var all = sigset_t()
    sigfillset(&all)
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
    let words = [path, "runner", "--model", model] + held
    let arguments = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var processID: pid_t = 0
    let code = posix_spawn(&processID, path, &actions, &attributes, arguments, environ)
    guard code == 0 else { throw SimulatorError(call: "fork/exec \(path)", errno: code) }
    return processID
  }

  /// NIO's sockets would be inherited, but a runner that outlives its server must not hold its port and its clients.
  private static func keepDescriptorsFromChildren() {
    for number in SmallFile.names(in: "/proc/self/fd").compactMap({ Int32($0) }) where number > STDERR_FILENO {
      _ = fcntl(number, F_SETFD, FD_CLOEXEC)
    }
  }

  private func watch(_ descriptor: Int32, _ eventLoop: any EventLoop) {
    let runner = NIOLoopBound(self, eventLoop: eventLoop)
    NIOPipeBootstrap(group: eventLoop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(EndWatcher { runner.value.ended() })
        }
      }
      .takingOwnershipOfDescriptor(input: descriptor)
      .whenFailure { error in
        Log.error("cannot watch runner", source: "server.go", ["error": "\(error)"])
        runner.value.ended()
      }
  }

  /// Kills it; its end is expected then. When this returns it is gone, with what it held.
  func kill() {
    onDeath = nil
    crash()
    reap()
  }

  /// Kills it as a fault does: its end comes as a surprise.
  func crash() { if !isOver { Glibc.kill(processID, SIGKILL) } }

  private func ended() {
    guard !isOver else { return }
    // Its output closes while it dies, so this is short.
    reap()
    onDeath?()
    onDeath = nil
  }
}

extension RunnerProcess {
  private func reap() {
    guard !isOver else { return }
    isOver = true
    registry.remove(processID)
    var status: Int32 = 0
    while waitpid(processID, &status, 0) < 0 && errno == EINTR {}
  }
}

private final class EndWatcher: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  private let ended: () -> Void

  init(_ ended: @escaping () -> Void) { self.ended = ended }

  func channelInactive(context: ChannelHandlerContext) { ended() }
}
