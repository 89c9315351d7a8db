import GRDB
import Glibc

/// An index file that is open, and what is known of it.
struct OpenIndex {
  let database: DatabaseQueue
  let model: String
  /// All passages' ids, ascending.
  let ids: [Int64]
  private let identity: Identity

  /// By which a file is told from the one that takes its place.
  private struct Identity: Equatable {
    let device: UInt
    let inode: UInt
    let seconds: Int
    let nanoseconds: Int

    init?(_ path: String) {
      var status = stat()
      guard stat(path, &status) == 0 else { return nil }
      (device, inode) = (UInt(status.st_dev), UInt(status.st_ino))
      (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
    }
  }

  /// The same while the same file stands there, else that one.
  ///
  /// - Throws: `RetrievalError`; then none is open.
  static func renewed(_ current: inout OpenIndex?, _ path: String) throws -> OpenIndex {
    let identity = Identity(path)
    if let current, current.identity == identity { return current }
    current = nil
    let new = try OpenIndex(path, identity)
    current = new
    return new
  }

  private init(_ path: String, _ identity: Identity?) throws {
    database = try IndexReading.open(path)
    guard let identity else { throw RetrievalError(.missing, "\(path) is gone: run `ollama-pool index` again") }
    self.identity = identity
    (model, ids) = try database.read { rows in
      var ids: [Int64] = []
      try rows.forEach("SELECT id FROM passage ORDER BY id") { row in
        ids.append(try row.integer())
        if ids.count > IndexSchema.mostPassages {
          throw RetrievalError(
            .full, "\(path) has more than \(IndexSchema.mostPassages) passages: it would take too long to search")
        }
      }
      return (try IndexedModel.read(rows).name, ids)
    }
  }
}
