import Dispatch
import Glibc
import PoolCore

/// What the pool orders of a reader of models.
package struct ReaderOrder: Equatable, Sendable {
  /// By their normalised names, those needed first at the beginning.
  package var models: [String]
  /// The store's folder.
  package var store: String
  /// The key `instance_user`.
  package var user: String?

  package init(models: [String], store: String, user: String?) {
    self.models = models
    self.store = store
    self.user = user
  }
}

/// The program that becomes a ``ModelReader``: this one.
package struct ReaderProgram: Equatable, Sendable {
  /// nil: this process's own.
  var path: String?

  package init(path: String? = nil) { self.path = path }

  private static let deleted = " (deleted)"

  /// A path that another user, too, can start: /proc/self/exe is this process's own. After an upgrade it is the newer
  /// program's.
  func executable() throws(LaunchError) -> String {
    if let path { return path }
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
    var name = String(decoding: buffer.prefix(max(0, count)).map(UInt8.init(bitPattern:)), as: UTF8.self)
    if name.hasSuffix(Self.deleted) { name.removeLast(Self.deleted.count) }
    guard access(name, X_OK) == 0 else {
      throw LaunchError(.missingExecutable, "the pool's own program is gone from \(name)")
    }
    return name
  }
}

/// The pool's end of a socket to a reader. Its other end is the reader's standard input and output.
struct ReaderConnection {
  private let own: Int32
  let readers: Int32

  /// The names are written at once: they fit into a socket's buffer.
  init(_ models: [String]) throws(LaunchError) {
    let pair = try DescriptorPair.sockets()
    (own, readers) = (pair.first, pair.second)
    let text = Array(models.map { $0 + "\n" }.joined().utf8)
    let sent = send(own, text, text.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
    guard sent == text.count, shutdown(own, Int32(SHUT_WR)) == 0 else {
      let error = Errno.last
      pair.close()
      throw LaunchError(.refused, "no socket to a reader: \(error.text)")
    }
  }

  /// The reader has its end by now.
  func closeReaders() { Glibc.close(readers) }

  /// Nobody will be there to listen to.
  func close() { Glibc.close(own) }

  func giveUp() {
    closeReaders()
    close()
  }

  /// What it says until its end, which it meets when nobody listens any more.
  /// - Parameter atEnd: called when it has ended, on a thread that may block.
  func messages(atEnd: @escaping @Sendable () -> Void = {}) -> AsyncStream<ReaderMessage> {
    let (stream, continuation) = AsyncStream<ReaderMessage>.makeStream()
    let own = own
    // Ends the read below, while the descriptor is still this one's.
    continuation.onTermination = { if case .cancelled = $0 { shutdown(own, Int32(SHUT_RDWR)) } }
    DispatchQueue(label: "ollama-pool.model-reader").async {
      var lines = LineSplitter()
      var buffer = [UInt8](repeating: 0, count: 1 << 12)
      while true {
        let count = read(own, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { break }
        for line in lines.add(buffer.prefix(count)) {
          if let message = ReaderMessage(line: line) { continuation.yield(message) }
        }
      }
      continuation.onTermination = nil
      Glibc.close(own)
      continuation.finish()
      atEnd()
    }
    return stream
  }
}
