import Dispatch
import FoundationEssentials
import Glibc

/// What outlives the supervisor: small JSON files in its StateDirectory, each replaced as a whole.
final class StateDirectory: Sendable {
  enum File: String, Sendable {
    /// `GPUNumbering`.
    case numbers = "gpu-numbers.json"
    /// `StandingOrders`.
    case orders = "orders.json"
  }

  /// More than any of the files needs: bounds what a strange file can make the supervisor read.
  private static let largest = 1 << 20

  let path: String
  /// Writes one after the other, in the order they were asked for, off the supervisor's actor: a disk may be slow.
  private let queue = DispatchQueue(label: "ollama-pool.supervisor.state")

  init(_ path: String) { self.path = path }

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
  /// - Parameter stored: is called from another thread once it is on the disk, or with the reason why it isn't.
  func store(
    _ value: some Encodable & Sendable, as file: File, then stored: @escaping @Sendable (SupervisorError?) -> Void
  ) {
    queue.async { [self] in
      do throws(SupervisorError) {
        try write(value, to: path(to: file))
        stored(nil)
      } catch {
        stored(error)
      }
    }
  }

  /// Calls back, from another thread, when all that was to be stored until now has been.
  func afterwards(_ action: @escaping @Sendable () -> Void) { queue.async { action() } }

  /// Waits until all that was to be stored is.
  func flush() { queue.sync {} }

  private func path(to file: File) -> String { "\(path)/\(file.rawValue)" }

  private func damaged(_ name: String, _ what: String) -> SupervisorError {
    let aside = name + ".damaged"
    let moved = rename(name, aside) == 0
    return .state(name, what, remedy: moved ? "it was put aside as \(aside), and a new one is begun" : "remove it")
  }

  /// A new file takes the old one's place only when it is on the disk.
  private func write(_ value: some Encodable, to name: String) throws(SupervisorError) {
    let bytes: [UInt8]
    do {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys]
      bytes = Array(try encoder.encode(value)) + [UInt8(ascii: "\n")]
    } catch {
      throw .state(name, "can't be written: \(error)", remedy: "it is kept in memory only")
    }
    func failed() -> SupervisorError {
      .state(name, "can't be written: \(Self.errorText())", remedy: "see whether the disk is full and who owns \(path)")
    }
    let new = name + ".new"
    let descriptor = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o640)
    guard descriptor >= 0 else { throw failed() }
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { break }
    }
    guard rest.isEmpty, fsync(descriptor) == 0 else {
      let error = failed()
      close(descriptor)
      throw error
    }
    close(descriptor)
    guard rename(new, name) == 0 else { throw failed() }
  }

  private static func text(_ error: DecodingError) -> String {
    switch error {
    case .dataCorrupted(let context), .keyNotFound(_, let context), .typeMismatch(_, let context),
      .valueNotFound(_, let context):
      context.debugDescription
    @unknown default: "\(error)"
    }
  }

  private static func errorText() -> String { String(cString: strerror(errno)) }
}
