import Glibc
import Launching
import Retrieval

/// Brings an index up to date with folders.
struct IndexRun {
  /// Absolute paths without links.
  let folders: [DocumentPath]
  let path: String
  let embedder: PoolEmbedder

  struct Summary: Equatable {
    /// Documents that were read and embedded.
    var read = 0
    var unchanged = 0
    var removed = 0
    var passages = 0
    var links = 0
    var others = 0
    var problems: [IndexProblem] = []
  }

  /// - Parameter progress: gets how many documents are done, of how many, and the next one's path.
  /// - Throws: what stands against the whole; what was written until then is kept for the next run. The index stays as
  ///   it was.
  func run(progress: (Int, Int, String) -> Void) async throws -> Summary {
    let walk = FolderWalk(folders)
    // An empty or wrong folder must not empty the index.
    guard !walk.files.isEmpty else {
      let place = folders.map(\.text).joined(separator: ", ")
      throw CommandFailure(
        walk.problems.first.map { "\($0.path): \($0.reason)" } ?? "there is no document below \(place)",
        remedy: "name a folder that \(User.current) may read, with files that end with .txt, .md or .pdf")
    }
    let model = try await embedder.indexedModel()
    let writer = try IndexWriter(path, model: model)
    var summary = Summary(links: walk.links, others: walk.others, problems: walk.problems)
    // First, so that what is gone takes no room. What can't be looked into may still have its documents.
    let unseen = walk.problems.map(\.path)
    let seen = Set(walk.files.map(\.path.text))
    summary.removed = try writer.keep { path in
      seen.contains(path) || unseen.contains { path == $0 || path.hasPrefix($0 + "/") }
    }
    for (number, file) in walk.files.enumerated() {
      progress(number, walk.files.count, file.path.text)
      do {
        if let count = try await add(file, to: writer) {
          summary.read += 1
          summary.passages += count
        } else {
          summary.unchanged += 1
        }
      } catch let error as RetrievalError where error.code == .unreadable || error.code == .full {
        summary.problems.append(IndexProblem(path: file.path.text, reason: error.message))
      }
    }
    guard try await embedder.digest() == model.digest else {
      throw CommandFailure(
        "the pool got another \(model.name) meanwhile", remedy: "run this again: all is embedded anew")
    }
    try writer.finish()
    return summary
  }

  /// - Returns: its passages; nil where the index has the document as it is.
  private func add(_ file: FolderWalk.File, to writer: IndexWriter) async throws -> Int? {
    let path = file.path.text
    let (mark, content, text): (FileMark, [UInt8], DocumentText)
    do {
      let document = try DocumentFile(file.path, file.kind)
      mark = document.mark
      if try writer.has(path, mark) { return nil }
      content = try document.content()
      if try writer.has(path, mark, content: content) { return nil }
      text = try document.text(content)
    }
    let passages = text.passages
    try writer.checkRoom(for: path, passages: passages.count)
    let vectors = try await embedder.vectors(of: passages)
    try writer.put(
      path, mark, content: content, title: text.title, Array(zip(passages, vectors)), at: Int64(time(nil)))
    return passages.count
  }
}
