import Foundation
import Glibc
import Synchronization

/// How a program ended.
package enum ProgramEnd: Equatable, Sendable, CustomStringConvertible {
  case exited(Int32)
  case killed(bySignal: Int32)

  package var description: String {
    switch self {
    case .exited(let status): "exit status \(status)"
    case .killed(let signal): "killed by signal \(signal)"
    }
  }
}

/// A program that was started, and what it has written so far. When the last reference goes, it is killed
/// along with its descendants.
package final class RunningProgram: Sendable {
  package let processID: Int32
  private let record = Record()
  private let standardInput: Mutex<Int32?>

  /// What the threads that watch the program share with this object, without keeping it alive.
  private final class Record: Sendable {
    struct State {
      var end: ProgramEnd?
      var output: [UInt8] = []
      var errorOutput: [UInt8] = []
      var openPipes = 2
    }
    let state = Mutex(State())
  }

  /// Starts a program in a process group of its own, with default signal dispositions.
  /// - Parameters:
  ///   - program: a path, or a name that is looked up in PATH.
  ///   - environment: added to this process's own; nil removes a variable.
  ///   - descriptors: what the program finds at which number beside 0, 1 and 2.
  package init(
    _ program: String, _ arguments: [String] = [], environment: [String: String?] = [:],
    workingDirectory: String? = nil, descriptors: [(own: Int32, inProgram: Int32)] = []
  ) throws {
    var variables = ProcessInfo.processInfo.environment
    for (name, value) in environment { variables[name] = value }
    let inDirectory = workingDirectory.map { ["env", "-C", $0] } ?? []
    let command = inDirectory + [program] + arguments
    let (input, output, errorOutput, processID) = try spawning.withLock { _ in
      let input = try PipeEnds()
      let output = try PipeEnds()
      let errorOutput = try PipeEnds()
      defer {
        input.read.close()
        output.write.close()
        errorOutput.write.close()
      }
      do {
        let processID = try spawnProgram(
          command[0], Array(command.dropFirst()), variables: variables,
          descriptors: descriptors + [
            (input.read.number, 0), (output.write.number, 1), (errorOutput.write.number, 2),
          ])
        return (input.write, output.read, errorOutput.read, processID)
      } catch {
        for end in [input.write, output.read, errorOutput.read] { end.close() }
        throw error
      }
    }
    self.processID = processID
    standardInput = Mutex(input.number)
    watch(output) { $0.output += $1 }
    watch(errorOutput) { $0.errorOutput += $1 }
    watchForEnd()
  }

  deinit {
    closeInput()
    killTree()
  }

  // MARK: What it does

  /// What it has written to standard output so far.
  package var output: String { record.state.withLock { String(decoding: $0.output, as: UTF8.self) } }
  /// What it has written to standard error so far.
  package var errorOutput: String { record.state.withLock { String(decoding: $0.errorOutput, as: UTF8.self) } }
  package var outputLines: [Substring] { output.split(separator: "\n") }
  package var errorOutputLines: [Substring] { errorOutput.split(separator: "\n") }
  /// How it ended, or nil while it runs.
  package var end: ProgramEnd? { record.state.withLock { $0.end } }

  /// Waits for a line with `text` in it, on standard output or standard error, and returns it.
  @discardableResult
  package func line(containing text: String, within limit: Duration = .seconds(30)) async throws -> String {
    try await eventualValue(within: limit, "process \(processID) writes '\(text)'") {
      let line = (outputLines + errorOutputLines).first { $0.contains(text) }
      if line == nil, let end {
        throw NeverHappened(description: "it ended with \(end), having written: \(output)\(errorOutput)")
      }
      return line.map(String.init)
    }
  }

  /// Waits for its end.
  @discardableResult
  package func wait(within limit: Duration = .seconds(30)) async throws -> ProgramEnd {
    try await eventualValue(within: limit, every: .milliseconds(2), "process \(processID) ends") { end }
  }

  /// Waits until nobody, descendants included, has its standard output and standard error open any more.
  package func waitForEndOfOutput(within limit: Duration = .seconds(2)) async throws {
    try await eventually(within: limit, every: .milliseconds(2), "process \(processID) closes its output") {
      record.state.withLock { $0.openPipes == 0 }
    }
  }

  // MARK: What is done to it

  /// Sends it a signal, unless it has ended.
  package func signal(_ signal: Int32) {
    record.state.withLock { if $0.end == nil { kill(processID, signal) } }
  }

  /// Asks it to stop with SIGTERM, and kills it with its descendants when it takes longer than `limit`.
  @discardableResult
  package func stop(within limit: Duration = .seconds(30)) async throws -> ProgramEnd {
    signal(SIGTERM)
    defer { killTree() }
    return try await wait(within: limit)
  }

  /// Kills it, its process group and all its descendants.
  package func killTree() {
    let descendants = processIDs(below: processID)
    record.state.withLock { state in
      if state.end == nil { kill(processID, SIGKILL) }
    }
    kill(-processID, SIGKILL)
    for descendant in descendants { kill(descendant, SIGKILL) }
  }

  /// Writes to its standard input; returns false when it no longer reads.
  @discardableResult
  package func write(_ text: String) -> Bool {
    standardInput.withLock { descriptor in
      guard let descriptor else { return false }
      let bytes = Array(text.utf8)
      var written = 0
      while written < bytes.count {
        let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + written, $0.count - written) }
        if count < 0 && errno != EINTR { return false }
        written += max(count, 0)
      }
      return true
    }
  }

  package func closeInput() {
    standardInput.withLock { descriptor in
      if let open = descriptor { close(open) }
      descriptor = nil
    }
  }

  // MARK: Threads

  private func watch(_ pipe: Descriptor, append: @escaping @Sendable (inout Record.State, ArraySlice<UInt8>) -> Void) {
    Thread.detachNewThread { [record] in
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let count = read(pipe.number, &buffer, buffer.count)
        if count < 0 && errno == EINTR { continue }
        if count <= 0 { break }
        record.state.withLock { append(&$0, buffer[..<count]) }
      }
      pipe.close()
      record.state.withLock { $0.openPipes -= 1 }
    }
  }

  private func watchForEnd() {
    Thread.detachNewThread { [record, processID] in
      var information = siginfo_t()
      // The status is only looked at here, and taken under the lock, so that a signal never hits a process
      // that got the same number later.
      while waitid(P_PID, id_t(processID), &information, WEXITED | WNOWAIT) == -1 && errno == EINTR {}
      record.state.withLock { state in
        var status: Int32 = 0
        waitpid(processID, &status, 0)
        let signal = status & 0x7f
        state.end = signal == 0 ? .exited((status >> 8) & 0xff) : .killed(bySignal: signal)
      }
    }
  }
}

/// Runs a program to its end and returns what it wrote and how it ended.
/// A program that takes longer than `limit` is killed, and ``NeverHappened`` is thrown.
package func run(
  _ program: String, _ arguments: [String] = [], environment: [String: String?] = [:], input: String = "",
  workingDirectory: String? = nil, within limit: Duration = .seconds(60)
) async throws -> (output: String, errorOutput: String, end: ProgramEnd) {
  let running = try RunningProgram(
    program, arguments, environment: environment, workingDirectory: workingDirectory)
  running.write(input)
  running.closeInput()
  let end: ProgramEnd
  do {
    end = try await running.wait(within: limit)
    try await running.waitForEndOfOutput()
  } catch {
    throw NeverHappened(
      description: "\(program) \(arguments.joined(separator: " ")): \(error); it wrote: "
        + running.output + running.errorOutput)
  }
  return (running.output, running.errorOutput, end)
}
