import Dispatch
import GRDB
import Glibc
package import NIOCore
import Synchronization

/// An index that is searched, as long as the dispatcher lives. A new one in its place is noticed at the next question.
///
/// It may be called from anywhere and never blocks: a thread of its own works on the file, and futures are completed on
/// the event loop. They fail with a ``RetrievalError``. Of the file no more is held in memory than the passages'
/// numbers and SQLite's own cache of 2 MB.
package final class DocumentIndex: Sendable {
  /// Searches that may wait for the one under way.
  private static let mostWaiting = 256

  package let path: String
  private let eventLoop: any EventLoop
  private let worker = DispatchQueue(label: "ollama-pool.index")
  private let waiting = Mutex(0)
  /// The worker's own.
  private let opened = Mutex<Opened?>(nil)

  /// A file that is open, and what is known of it.
  private struct Opened {
    let identity: Identity
    let database: DatabaseQueue
    let model: String
    let ids: [Int64]
  }

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

  package init(_ path: String, on eventLoop: any EventLoop) {
    self.path = path
    self.eventLoop = eventLoop
  }

  /// The model that its embeddings are of.
  package func model() -> EventLoopFuture<EmbeddingModel> {
    work { opened in EmbeddingModel(opened.model) }
  }

  /// The passages that fit best, the best first.
  package func search(_ request: SearchRequest) -> EventLoopFuture<[FoundPassage]> {
    work { opened in
      guard .now() < request.deadline else { throw RetrievalError(.late, "searching the documents took too long") }
      return try opened.database.read { database in
        var search = Search(request, ids: opened.ids)
        return try search.run(database)
      }
    }
  }

  private func work<Value: Sendable>(
    _ body: @escaping @Sendable (borrowing Opened) throws -> Value
  ) -> EventLoopFuture<Value> {
    let isAccepted = waiting.withLock { waiting in
      guard waiting < Self.mostWaiting else { return false }
      waiting += 1
      return true
    }
    guard isAccepted else {
      return eventLoop.makeFailedFuture(
        RetrievalError(.overloaded, "\(Self.mostWaiting) searches wait for \(path) already: see whether its disk hangs")
      )
    }
    let promise = eventLoop.makePromise(of: Value.self)
    worker.async { [self] in
      defer { waiting.withLock { $0 -= 1 } }
      promise.completeWith(
        Result {
          do { return try body(open()) } catch { throw RetrievalError(error, file: path) }
        })
    }
    return promise.futureResult
  }

  private func open() throws -> Opened {
    try opened.withLock { opened in
      let identity = Identity(path)
      if let current = opened, current.identity == identity { return current }
      opened = nil
      let database = try IndexReading.open(path)
      guard let identity else { throw RetrievalError(.missing, "\(path) is gone: run `ollama-pool index` again") }
      let (model, ids) = try database.read { rows in
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
      let new = Opened(identity: identity, database: database, model: model, ids: ids)
      opened = new
      return new
    }
  }
}
