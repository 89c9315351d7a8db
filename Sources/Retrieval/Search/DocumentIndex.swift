import Dispatch
import GRDB
package import NIOCore
import Synchronization

/// An index that is searched, as long as the dispatcher lives. A new one in its place is noticed at the next question.
///
/// It may be called from anywhere and never blocks: threads of its own work on the file, and futures are completed on
/// the event loop. They fail with a ``RetrievalError``. Of the file no more is held in memory than, for each thread,
/// the passages' numbers and SQLite's own cache of 2 MB.
package final class DocumentIndex: Sendable {
  /// Each takes a core, and the dispatcher has other things to do; two at least, so that a long search stops no other.
  private static let threads = max(2, min(4, System.coreCount))
  /// Searches that may wait or be under way.
  private static let mostWaiting = 256

  package let path: String
  private let eventLoop: any EventLoop
  private let threads: [Worker]
  /// How many each thread has to do.
  private let waiting = Mutex([Int](repeating: 0, count: threads))

  /// A thread with the file open. Any other has it open for itself.
  private final class Worker: Sendable {
    let queue = DispatchQueue(label: "ollama-pool.index")
    /// The thread's own.
    let opened = Mutex<OpenIndex?>(nil)
  }

  package init(_ path: String, on eventLoop: any EventLoop) {
    self.path = path
    self.eventLoop = eventLoop
    threads = (0..<Self.threads).map { _ in Worker() }
  }

  /// The model that its embeddings are of.
  package func model() -> EventLoopFuture<EmbeddingModel> {
    work { index in EmbeddingModel(index.model) }
  }

  /// The passages that fit best, the best first.
  package func search(_ request: SearchRequest) -> EventLoopFuture<[FoundPassage]> {
    work { index in
      guard .now() < request.deadline else { throw RetrievalError(.late, "searching the documents took too long") }
      return try index.database.read { database in
        var search = Search(request, ids: index.ids)
        return try search.run(database)
      }
    }
  }

  func work<Value: Sendable>(
    _ body: @escaping @Sendable (borrowing OpenIndex) throws -> Value
  ) -> EventLoopFuture<Value> {
    let chosen = waiting.withLock { waiting -> Int? in
      guard waiting.reduce(0, +) < Self.mostWaiting else { return nil }
      let chosen = waiting.indices.min { waiting[$0] < waiting[$1] }
      if let chosen { waiting[chosen] += 1 }
      return chosen
    }
    guard let chosen else {
      return eventLoop.makeFailedFuture(
        RetrievalError(.overloaded, "\(Self.mostWaiting) searches wait for \(path) already: see whether its disk hangs")
      )
    }
    let promise = eventLoop.makePromise(of: Value.self)
    let worker = threads[chosen]
    worker.queue.async { [self] in
      defer { waiting.withLock { $0[chosen] -= 1 } }
      promise.completeWith(
        Result {
          do {
            return try worker.opened.withLock { opened in try body(OpenIndex.renewed(&opened, path)) }
          } catch {
            throw RetrievalError(error, file: path)
          }
        })
    }
    return promise.futureResult
  }
}
