import GRDB

/// The model that all embeddings of an index are of. Its name alone wouldn't do: it may get another content.
package struct IndexedModel: Equatable, Sendable {
  package var name: String
  /// Of its content, as Ollama lists it.
  package var digest: String
  /// Numbers of each of its embeddings.
  package var dimensions: Int

  package init(name: String, digest: String, dimensions: Int) {
    (self.name, self.digest, self.dimensions) = (name, digest, dimensions)
  }

  static func read(_ database: Database) throws -> IndexedModel {
    func value(_ name: String) throws -> String {
      let value = try String.fetchOne(database, sql: "SELECT value FROM about WHERE name = ?", arguments: [name])
      guard let value else { throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "it doesn't say its \(name)") }
      return value
    }
    return IndexedModel(
      name: try value("model"), digest: try value("digest"), dimensions: Int(try value("dimensions")) ?? 0)
  }

  func write(_ database: Database) throws {
    try database.execute(
      sql: "INSERT INTO about VALUES ('model', ?), ('digest', ?), ('dimensions', ?)",
      arguments: [name, digest, "\(dimensions)"])
  }
}
