import Glibc
import Launching

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
    let result = run(command, variables: variables, most: 65_536, cutsOff: true, within: limit)
    return result.flatMap { $0.status == 0 ? String(decoding: $0.bytes, as: UTF8.self) : nil }
  }

  enum Stream { case output, errors }

  struct Result {
    /// What it wrote.
    var bytes: [UInt8]
    /// Whether that was all, and it ended by itself.
    var isComplete: Bool
    /// nil where it was killed.
    var status: Int32?
  }

  /// Runs a program to its end.
  /// - Parameters:
  ///   - variables: that replace this process's own.
  ///   - input: its standard input; nil for /dev/null.
  ///   - stream: what is read; the other goes to /dev/null.
  ///   - most: bytes that are read.
  ///   - cutsOff: whether it may write more, which is thrown away; else that ends it.
  ///   - limit: after which it is killed.
  /// - Returns: nil if it can't be run.
  static func run(
    _ command: [String], variables: [String: String] = [:], input: Int32? = nil, reading stream: Stream = .output,
    most: Int, cutsOff: Bool = false, within limit: Duration
  ) -> Result? {
    guard let pipe = try? DescriptorPair.pipe() else { return nil }
    defer { close(pipe.first) }
    let environment =
      ownEnvironment.filter { variables[String($0.prefix { $0 != "=" })] == nil }
      + variables.map { "\($0.key)=\($0.value)" }
    let (output, errors): (Int32?, Int32?) = stream == .output ? (pipe.second, nil) : (nil, pipe.second)
    let started = Spawning.spawn(
      command[0], command, environment: environment,
      descriptors: [(input, STDIN_FILENO), (output, STDOUT_FILENO), (errors, STDERR_FILENO)])
    close(pipe.second)
    guard case .success(let processID) = started else { return nil }
    let (bytes, isComplete) = read(pipe.first, most: most, cutsOff: cutsOff, until: .now + limit)
    if !isComplete { kill(processID, SIGKILL) }
    var status: Int32 = 0
    while waitpid(processID, &status, 0) == -1, errno == EINTR {}
    let hasExited = status & 0x7f == 0
    return Result(bytes: bytes, isComplete: isComplete, status: isComplete && hasExited ? (status >> 8) & 0xff : nil)
  }

  private static func read(
    _ descriptor: Int32, most: Int, cutsOff: Bool, until deadline: ContinuousClock.Instant
  ) -> ([UInt8], isComplete: Bool) {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16_384)
    while true {
      let left = deadline - .now
      guard left > .zero else { return (bytes, false) }
      var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000
      guard poll(&wait, 1, Int32(clamping: milliseconds + 1)) > 0 else { continue }
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count == 0 { return (bytes, true) }
      if count < 0, errno != EINTR { return (bytes, false) }
      if count > 0 { bytes += buffer.prefix(min(count, most - bytes.count)) }
      if bytes.count == most, !cutsOff { return (bytes, false) }
    }
  }
}
