import Crypto
import FoundationEssentials
import GRDB
import Glibc

/// What is known of a document's file without reading it.
package struct FileMark: Equatable, Sendable {
  package var bytes: Int
  package var modifiedNanoseconds: Int64

  package init(bytes: Int, modifiedNanoseconds: Int64) {
    self.bytes = bytes
    self.modifiedNanoseconds = modifiedNanoseconds
  }
}

/// Writes an index: into a file of its own beside it, which takes the index's place at the end. What was written before
/// a run broke off is there for the next one.
package final class IndexWriter {
  private let file: WorkFile
  private let database: DatabaseQueue
  private let model: IndexedModel
  private var passages: Int

  /// - Parameters:
  ///   - path: of the index, absolute.
  ///   - model: what all embeddings in it are of.
  /// - Throws: `RetrievalError`; the index is as it was.
  package init(_ path: String, model: IndexedModel) throws {
    self.model = model
    file = try WorkFile(beside: path)
    do {
      database = try Self.open(file, model: model)
      passages = try database.read(Self.passages)
    } catch {
      throw RetrievalError(error, file: file.path)
    }
  }

  /// What an earlier run left, else a copy of the index; empty where neither is usable for this model.
  private static func open(_ file: borrowing WorkFile, model: IndexedModel) throws -> DatabaseQueue {
    if let open = try? reuse(file.path, model: model) { return open }
    try file.copyIndex()
    if let open = try? reuse(file.path, model: model) { return open }
    file.clear()
    let database = try connect(file.path)
    try database.write { try IndexSchema.make($0, model: model) }
    return database
  }

  private static func reuse(_ path: String, model: IndexedModel) throws -> DatabaseQueue? {
    let database = try connect(path)
    let isUsable = try database.read { database in
      try IndexSchema.check(database, path)
      return try IndexedModel.read(database) == model
        && String.fetchOne(database, sql: "PRAGMA quick_check(1)") == "ok"
    }
    return isUsable ? database : nil
  }

  private static func connect(_ path: String) throws -> DatabaseQueue {
    var configuration = Configuration()
    configuration.label = "ollama-pool.index"
    let database = try DatabaseQueue(path: path, configuration: configuration)
    try database.writeWithoutTransaction { database in
      // No file of SQLite's may be needed beside it once it is finished.
      try database.execute(
        sql: "PRAGMA page_size = \(IndexSchema.pageBytes); PRAGMA journal_mode = DELETE; PRAGMA synchronous = NORMAL")
    }
    return database
  }

  // MARK: Documents

  /// Whether the index has the document as it is, judged by its file's length and time.
  package func has(_ document: String, _ mark: FileMark) throws -> Bool {
    try reading { database in
      try Bool.fetchOne(
        database, sql: "SELECT 1 FROM document WHERE path = ? AND bytes = ? AND modified_ns = ?",
        arguments: [document, mark.bytes, mark.modifiedNanoseconds]) ?? false
    }
  }

  /// Whether the index has the document with this content; then its file's time is noted.
  package func has(_ document: String, _ mark: FileMark, content: [UInt8]) throws -> Bool {
    try writing { database in
      try database.execute(
        sql: "UPDATE document SET modified_ns = ?, bytes = ? WHERE path = ? AND hash = ?",
        arguments: [mark.modifiedNanoseconds, mark.bytes, document, Self.hash(content)])
      return database.changesCount > 0
    }
  }

  private static func hash(_ content: [UInt8]) -> Data { Data(SHA256.hash(data: content)) }

  /// - Throws: `full` where the index has no room for so many passages in place of what it has of the document.
  package func checkRoom(for document: String, passages count: Int) throws {
    guard try passages - reading({ try Self.passages($0, of: document) }) + count <= IndexSchema.mostPassages else {
      throw RetrievalError(
        .full,
        "has \(count) passages, and the index would have more than \(IndexSchema.mostPassages): leave documents out")
    }
  }

  private static func passages(_ database: Database) throws -> Int {
    try Int.fetchOne(database, sql: "SELECT count(*) FROM passage") ?? 0
  }

  private static func passages(_ database: Database, of document: String) throws -> Int {
    try Int.fetchOne(
      database, sql: "SELECT count(*) FROM passage WHERE document = (SELECT id FROM document WHERE path = ?)",
      arguments: [document]) ?? 0
  }

  /// Puts a document in place of what the index has of it.
  ///
  /// - Precondition: a vector for each passage.
  /// - Throws: `full`, or `badEmbedding` where a vector is of another length than the model's.
  package func put(
    _ document: String, _ mark: FileMark, content: [UInt8], title: String, _ passages: [(Passage, Vector)],
    at secondsSince1970: Int64
  ) throws {
    try checkRoom(for: document, passages: passages.count)
    guard passages.allSatisfy({ $1.numbers.count == model.dimensions }) else {
      throw RetrievalError(
        .badEmbedding, "\(model.name) makes embeddings of another length than before: run `ollama-pool index` again")
    }
    self.passages += try writing { database in
      let before = try Self.passages(database, of: document)
      try database.execute(sql: "DELETE FROM document WHERE path = ?", arguments: [document])
      try database.execute(
        sql: "INSERT INTO document (path, title, bytes, modified_ns, hash, indexed_at) VALUES (?, ?, ?, ?, ?, ?)",
        arguments: [document, title, mark.bytes, mark.modifiedNanoseconds, Self.hash(content), secondsSince1970])
      let id = database.lastInsertedRowID
      for (passage, vector) in passages {
        try database.execute(
          sql: "INSERT INTO passage (document, title, text) VALUES (?, ?, ?)",
          arguments: [id, passage.title, passage.text])
        try database.execute(
          sql: "INSERT INTO vector (passage, numbers) VALUES (?, ?)",
          arguments: [database.lastInsertedRowID, vector.data])
      }
      return passages.count - before
    }
  }

  /// Removes all documents that are not to stay.
  ///
  /// - Returns: how many there were.
  package func keep(_ stays: (String) -> Bool) throws -> Int {
    let gone = try reading { try String.fetchAll($0, sql: "SELECT path FROM document") }.filter { !stays($0) }
    passages = try writing { database in
      for path in gone { try database.execute(sql: "DELETE FROM document WHERE path = ?", arguments: [path]) }
      return try Self.passages(database)
    }
    return gone.count
  }

  /// Puts what was written in the index's place; the writer is of no use afterwards.
  package func finish() throws {
    do {
      try database.writeWithoutTransaction { database in
        try database.execute(sql: "INSERT INTO word (word) VALUES ('optimize')")
        try database.execute(sql: "VACUUM")
      }
      try database.close()
    } catch {
      throw RetrievalError(error, file: file.path)
    }
    try file.takePlaceOfIndex()
  }

  private func reading<Value>(_ body: (Database) throws -> Value) throws -> Value {
    do { return try database.read(body) } catch { throw RetrievalError(error, file: file.path) }
  }

  private func writing<Value>(_ body: (Database) throws -> Value) throws -> Value {
    do { return try database.write(body) } catch { throw RetrievalError(error, file: file.path) }
  }
}
