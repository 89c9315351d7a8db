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
      return IndexContents(model: try IndexReading.model(database), documents: documents)
    }
  }
}

enum IndexReading {
  /// Opens a finished index, which nothing changes any more.
  static func open(_ path: String) throws -> DatabaseQueue {
    guard access(path, F_OK) == 0 else {
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

  static func model(_ database: Database) throws -> String {
    guard let model = try String.fetchOne(database, sql: "SELECT value FROM about WHERE name = 'model'") else {
      throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "it names no model")
    }
    return model
  }
}
