import Glibc

/// The pool's ears for one guard: what it tells, and what its instance writes.
struct GuardWatch: Sendable {
  /// From the guard's start to its first word.
  private static let startLimit = Duration.seconds(10)

  let guardProcess: pid_t
  /// The socket to the guard.
  let control: Int32
  /// The pipe that the instance writes to.
  let output: Int32

  /// Blocks until the guard has ended, and takes its status. It always goes on reading, so that the instance can
  /// always write.
  /// - Returns: how the guard ended.
  func untilTheEnd(message: (GuardMessage) -> Void, line: (String) -> Void) -> ProcessEnd {
    var messages = LineSplitter()
    var lines = LineSplitter()
    let deadline = ContinuousClock.now + Self.startLimit
    var isStarting = true
    var sources = [
      pollfd(fd: control, events: Int16(POLLIN), revents: 0), pollfd(fd: output, events: Int16(POLLIN), revents: 0),
    ]
    while sources[0].fd >= 0 {
      let count = poll(&sources, 2, isStarting ? (deadline - .now).pollTimeout : -1)
      if isStarting, deadline <= .now { kill(guardProcess, SIGKILL) }
      guard count > 0 else { continue }
      if sources[1].revents != 0 {
        if let bytes = receive(output) { lines.add(bytes).forEach(line) } else { sources[1].fd = -1 }
      }
      guard sources[0].revents != 0 else { continue }
      guard let bytes = receive(control) else {
        sources[0].fd = -1
        continue
      }
      for text in messages.add(bytes) {
        guard let news = GuardMessage(line: text) else { continue }
        isStarting = false
        // What it wrote before comes first, such as why it ended.
        if case .started = news {} else { lines.add(receiveRest()).forEach(line) }
        message(news)
      }
    }
    lines.add(receiveRest()).forEach(line)
    lines.finish().map(line)
    var status: Int32 = 0
    while waitpid(guardProcess, &status, 0) < 0 && errno == EINTR {}
    return ProcessEnd(waitStatus: status)
  }

  /// What is in the pipe now. Its end may never come: a process that got away may hold it.
  private func receiveRest() -> [UInt8] {
    var all: [UInt8] = []
    while true {
      var source = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      guard poll(&source, 1, 0) > 0, let bytes = receive(output), all.count < 1 << 20 else { return all }
      all += bytes
    }
  }

  /// nil at the end of the stream.
  private func receive(_ descriptor: Int32) -> [UInt8]? {
    while true {
      var result = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 14) { buffer, count in
        result = read(descriptor, buffer.baseAddress, buffer.count)
        count = max(0, result)
      }
      if result < 0, errno == EINTR { continue }
      return bytes.isEmpty ? nil : bytes
    }
  }
}

extension Duration {
  /// As poll(2) takes it: whole milliseconds, rounded up, so that it doesn't return before the time.
  var pollTimeout: Int32 { Int32(min(max(0, (self / .milliseconds(1)).rounded(.up)), 1_000_000)) }
}
