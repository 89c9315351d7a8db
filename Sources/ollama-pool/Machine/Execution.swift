import Glibc

/// Running other programs.
enum Execution {
  /// Becomes another program, looked up on the PATH.
  /// - Returns: errno; only if that failed.
  static func replaceProcess(by command: [String]) -> Int32 {
    // An ignored signal stays ignored across exec: it would keep `journalctl | head` running.
    signal(SIGPIPE, SIG_DFL)
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    arguments.append(nil)
    execvp(command[0], &arguments)
    return errno
  }

  /// Runs a program to its end and returns the first 64 KiB of its standard output.
  /// - Parameters:
  ///   - variables: that replace this process's own.
  ///   - limit: after which it is killed.
  /// - Returns: nil if it can't be run, fails, or takes too long.
  static func output(
    of command: [String], variables: [String: String] = [:], within limit: Duration = .seconds(5)
  ) -> String? {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return nil }
    defer { close(ends[0]) }
    // Only its copy at 1 is the program's.
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let processID = spawn(command, variables: variables, output: ends[1])
    close(ends[1])
    guard let processID else { return nil }
    let (bytes, isComplete) = read(ends[0], until: .now + limit)
    if !isComplete { kill(processID, SIGKILL) }
    var status: Int32 = 0
    while waitpid(processID, &status, 0) == -1, errno == EINTR {}
    return isComplete && status == 0 ? String(decoding: bytes, as: UTF8.self) : nil
  }

  private static func spawn(_ command: [String], variables: [String: String], output: Int32) -> pid_t? {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    var environment: [String] = []
    var next = environ
    while let entry = next.pointee {
      let text = String(cString: entry)
      if variables[String(text.prefix { $0 != "=" })] == nil { environment.append(text) }
      next += 1
    }
    environment += variables.map { "\($0.key)=\($0.value)" }
    let arguments = command.map { strdup($0) } + [nil]
    let entries = environment.map { strdup($0) } + [nil]
    defer { for pointer in arguments + entries { free(pointer) } }
    var processID: pid_t = 0
    return posix_spawnp(&processID, command[0], &actions, nil, arguments, entries) == 0 ? processID : nil
  }

  private static func read(_ descriptor: Int32, until deadline: ContinuousClock.Instant) -> ([UInt8], isComplete: Bool)
  {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let left = deadline - .now
      guard left > .zero else { return (bytes, false) }
      var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000
      guard poll(&wait, 1, Int32(clamping: milliseconds + 1)) > 0 else { continue }
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count == 0 { return (bytes, true) }
      if count < 0, errno != EINTR { return (bytes, false) }
      if count > 0, bytes.count < 65_536 { bytes += buffer.prefix(count) }
    }
  }
}
