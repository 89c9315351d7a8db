import GRDB
import Glibc

/// What an index file says of itself, and of its documents.
package struct IndexContents: Equatable, Sendable {
  package struct Document: Equatable, Sendable {
    package var path: String
    package var title: String
    package var passages: Int
    package var indexedAtSecondsSince1970: Int64
  }

  package var model: String
  /// In the order of their paths.
  package var documents: [Document]

  /// - Throws: `RetrievalError`.
  package static func read(_ path: String) throws -> IndexContents {
    try IndexReading.open(path) { database in
      var documents: [Document] = []
      try database.forEach(
        """
        SELECT path, title, (SELECT count(*) FROM passage WHERE document = document.id), indexed_at FROM document
        ORDER BY path
        """
      ) { row in
        documents.append(
          Document(
            path: try row.text(), title: try row.text(), passages: Int(try row.integer()),
            indexedAtSecondsSince1970: try row.integer()))
      }
      return IndexContents(model: try IndexedModel.read(database).name, documents: documents)
    }
  }
}

enum IndexReading {
  /// Opens a finished index, which nothing changes any more.
  static func open(_ path: String) throws -> DatabaseQueue {
    var status = stat()
    if stat(path, &status) == 0 {
      // Of a pipe nobody would hear again.
      guard status.st_mode & S_IFMT == S_IFREG else {
        throw IndexSchema.foreign(path)
      }
    } else if errno == ENOENT || errno == ENOTDIR {
      throw RetrievalError(.missing, "there is no index at \(path): `ollama-pool index FOLDER` makes one")
    }
    do {
      var configuration = Configuration()
      configuration.label = "ollama-pool.index"
      configuration.readonly = true
      let database = try DatabaseQueue(path: path, configuration: configuration)
      try database.read { try IndexSchema.check($0, path) }
      return database
    } catch {
      throw RetrievalError(error, file: path)
    }
  }

  static func open<Value>(_ path: String, _ body: (Database) throws -> Value) throws -> Value {
    let database = try open(path)
    do { return try database.read(body) } catch { throw RetrievalError(error, file: path) }
  }
}
