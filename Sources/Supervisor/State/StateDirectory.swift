import Dispatch
import FoundationEssentials
import Glibc
import Launching
import Synchronization

/// What outlives the supervisor: small JSON files in its StateDirectory, each replaced as a whole. One supervisor has
/// it at a time.
package final class StateDirectory: Sendable {
  enum File: String, Sendable {
    /// `GPUNumbering`.
    case numbers = "gpu-numbers.json"
    /// `StandingOrders`.
    case orders = "orders.json"
    /// `GPUFaults`.
    case faults = "gpu-faults.json"
  }

  /// More than any of the files needs: bounds what a strange file can make the supervisor read.
  private static let largest = 1 << 20

  /// From the root, through no link: the units of systemd name it, too.
  package let path: String
  /// The open file by which others see that the directory is in use: until ``close()``, or the end of the process,
  /// however it comes.
  private let lock: Mutex<Int32?>
  /// Why a file was not stored the last time.
  private let failures = Mutex<[File: SupervisorError]>([:])
  /// Writes one after the other, in the order they were asked for, off the supervisor's actor: a disk may be slow.
  private let queue = DispatchQueue(label: "ollama-pool.supervisor.state")

  private init(_ path: String, lock: Int32) {
    self.path = path
    self.lock = Mutex(lock)
  }

  deinit { close() }

  /// What was stored; nil where nothing was.
  /// - Throws: where the file can't be used. A damaged one is put aside as `NAME.damaged`.
  func load<Value: Decodable>(_ file: File, as type: Value.Type = Value.self) throws(SupervisorError) -> Value? {
    let name = path(to: file)
    var status = stat()
    guard stat(name, &status) == 0 else {
      if errno == ENOENT { return nil }
      throw .state(name, "can't be read: \(Self.errorText())", remedy: "its user must be able to read it")
    }
    guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= Self.largest else {
      throw damaged(name, "is no file of this program's")
    }
    do {
      return try JSONDecoder().decode(type, from: try Data(contentsOf: URL(filePath: name)))
    } catch let error as DecodingError {
      throw damaged(name, "is damaged: \(Self.text(error))")
    } catch {
      throw .state(name, "can't be read: \(error)", remedy: "its user must be able to read it")
    }
  }

  /// Replaces the file.
  /// - Parameter news: is called from another thread when it can't be stored, with the reason, and when it can be
  ///   again.
  func store(
    _ value: some Encodable & Sendable, as file: File, news: @escaping @Sendable (SupervisorError?) -> Void
  ) {
    queue.async { [self] in
      var failure: SupervisorError?
      do throws(SupervisorError) { try write(value, to: path(to: file)) } catch { failure = error }
      let before = failures.withLock { failures in
        defer { failures[file] = failure }
        return failures[file]
      }
      if before?.message != failure?.message { news(failure) }
    }
  }

  /// Whether the file could not be stored the last time.
  func isBehind(_ file: File) -> Bool { failures.withLock { $0[file] != nil } }

  /// Calls back, from another thread, when all that was to be stored until now has been, or with the reason why the
  /// file has not.
  func afterwards(_ file: File, _ action: @escaping @Sendable (SupervisorError?) -> Void) {
    queue.async { [self] in action(failures.withLock { $0[file] }) }
  }

  /// Waits until all that was to be stored is.
  func flush() { queue.sync {} }

  /// Lets the next supervisor have it.
  func close() {
    if let descriptor = lock.withLock({ $0.take() }) { Glibc.close(descriptor) }
  }

  private func path(to file: File) -> String { "\(path)/\(file.rawValue)" }

  private func damaged(_ name: String, _ what: String) -> SupervisorError {
    let aside = name + ".damaged"
    let moved = rename(name, aside) == 0
    return .state(name, what, remedy: moved ? "it was put aside as \(aside), and a new one is begun" : "remove it")
  }

  private func write(_ value: some Encodable, to name: String) throws(SupervisorError) {
    let bytes: [UInt8]
    do {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys]
      bytes = Array(try encoder.encode(value)) + [UInt8(ascii: "\n")]
    } catch {
      throw .state(name, "can't be written: \(error)", remedy: "it is kept in memory only")
    }
    do throws(Errno) {
      try ReplacedFile.write(bytes, to: name, mode: 0o640)
    } catch {
      throw .state(name, "can't be written: \(error.text)", remedy: "see whether the disk is full and who owns \(path)")
    }
  }

  private static func text(_ error: DecodingError) -> String {
    switch error {
    case .dataCorrupted(let context), .keyNotFound(_, let context), .typeMismatch(_, let context),
      .valueNotFound(_, let context):
      context.debugDescription
    @unknown default: "\(error)"
    }
  }

  fileprivate static func errorText() -> String { String(cString: strerror(errno)) }
}

extension StateDirectory {
  /// Takes the directory, which must exist and be writable.
  ///
  /// - Parameter patience: how long one that is in use is waited for.
  package static func take(_ path: String, patience: Duration = .zero) async throws(SupervisorError) -> StateDirectory {
    let deadline = ContinuousClock.now + patience
    while true {
      do throws(SupervisorError) {
        let lock = try lock(path)
        return StateDirectory(RealPath.of(path) ?? path, lock: lock)
      } catch {
        guard error.code == .inUse, ContinuousClock.now < deadline, !Task.isCancelled else { throw error }
      }
      try? await Task.sleep(for: .milliseconds(100))
    }
  }

  /// The lock is the kernel's, so that nothing of it outlives a process that is killed; the file's text is for people.
  /// Meanwhile the directory itself is locked, so that of two who replace the file neither locks one that is gone.
  private static func lock(_ path: String) throws(SupervisorError) -> Int32 {
    let directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0, flock(directory, LOCK_EX) == 0 else {
      throw .state(path, "can't be opened: \(errorText())", remedy: "make it, or name another folder with --state")
    }
    defer { Glibc.close(directory) }
    return try lockFile(in: path)
  }

  private static func lockFile(in path: String) throws(SupervisorError) -> Int32 {
    let name = path + "/lock"
    let descriptor = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o640)
    guard descriptor >= 0 else {
      throw .state(name, "can't be opened: \(errorText())", remedy: "see who owns \(path)")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      defer { Glibc.close(descriptor) }
      guard errno == EWOULDBLOCK else {
        throw .state(name, "can't be locked: \(errorText())", remedy: "name another folder with --state")
      }
      let holder = holder(descriptor)
      // Killed, and kept by a driver that hangs in one of its threads: it will never write again.
      if let holder, isZombie(holder), unlink(name) == 0 { return try lockFile(in: path) }
      throw SupervisorError(
        .inUse,
        "the state folder \(path) is in use by another pool\(holder.map { " (process \($0))" } ?? ""): stop that one, or "
          + "give this one a folder of its own with --state, and one for its sockets with --socket")
    }
    let text = "\(getpid())\n"
    // A full disk costs only the number in the message above.
    if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, text, text.utf8.count, 0) }
    return descriptor
  }

  private static func holder(_ descriptor: Int32) -> pid_t? {
    var buffer = [UInt8](repeating: 0, count: 16)
    let count = pread(descriptor, &buffer, buffer.count, 0)
    return pid_t(String(decoding: buffer.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
  }

  private static func isZombie(_ process: pid_t) -> Bool {
    // `PID (NAME) STATE …`, see proc_pid_stat(5).
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else { return false }
    return text.split(separator: ")").last?.hasPrefix(" Z ") ?? false
  }
}
