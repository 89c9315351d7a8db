import GRDB

/// What an index file holds.
///
/// A finished file is never changed: the next run of `ollama-pool index` writes another one and puts it in its place.
/// So whoever searches sees one whole index, needs no right to write, and no log of SQLite's beside it.
enum IndexSchema {
  /// Of this program's indexes: "OPDX".
  static let applicationID: Int32 = 0x4F50_4458
  static let version: Int32 = 1

  /// Passages that one index may hold. Each is read for every question.
  static let mostPassages = 200_000
  /// Numbers of one vector.
  static let dimensions = 1...4_096

  static let statements = """
    CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE document (
      id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, title TEXT NOT NULL, bytes INTEGER NOT NULL,
      modified_ns INTEGER NOT NULL, hash BLOB NOT NULL, indexed_at INTEGER NOT NULL
    );
    CREATE TABLE passage (
      id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES document (id) ON DELETE CASCADE,
      title TEXT NOT NULL, text TEXT NOT NULL
    );
    CREATE INDEX passage_of_document ON passage (document);
    CREATE TABLE vector (
      passage INTEGER PRIMARY KEY REFERENCES passage (id) ON DELETE CASCADE, numbers BLOB NOT NULL
    );
    CREATE VIRTUAL TABLE word USING fts5(
      title, text, content='passage', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
    );
    CREATE TRIGGER passage_added AFTER INSERT ON passage BEGIN
      INSERT INTO word (rowid, title, text) VALUES (new.id, new.title, new.text);
    END;
    CREATE TRIGGER passage_removed AFTER DELETE ON passage BEGIN
      INSERT INTO word (word, rowid, title, text) VALUES ('delete', old.id, old.title, old.text);
    END;
    """

  /// Makes it in an empty database.
  static func make(_ database: Database, model: String) throws {
    try database.execute(sql: statements)
    try database.execute(sql: "INSERT INTO about VALUES ('model', ?)", arguments: [model])
    try database.execute(sql: "PRAGMA application_id = \(applicationID)")
    try database.execute(sql: "PRAGMA user_version = \(version)")
  }

  static func check(_ database: Database, _ path: String) throws {
    guard try Int32.fetchOne(database, sql: "PRAGMA application_id") == applicationID else {
      throw RetrievalError(.damaged, "\(path) is no index of `ollama-pool index`: name another file, or move it away")
    }
    let found = try Int32.fetchOne(database, sql: "PRAGMA user_version") ?? 0
    guard found == version else {
      throw RetrievalError(
        .otherVersion,
        "\(path) has version \(found) of the index, and this program has \(version): move it away, and run "
          + "`ollama-pool index` again")
    }
  }
}

/// A row's values, one after the other. What isn't of the expected type is damage, and no reason to end the program, as
/// GRDB's own conversions do.
struct IndexRow {
  private let row: Row
  private var column = 0

  init(_ row: Row) { self.row = row }

  mutating func integer() throws -> Int64 { try next() }
  mutating func text() throws -> String { try next() }

  private mutating func next<Value: DatabaseValueConvertible>() throws -> Value {
    defer { column += 1 }
    guard let value = Value.fromDatabaseValue(row[column] as DatabaseValue) else {
      throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a column of an unexpected type")
    }
    return value
  }
}

extension Database {
  func forEach(
    _ query: StaticString, _ arguments: StatementArguments = StatementArguments(),
    _ body: (inout IndexRow) throws -> Void
  ) throws {
    let rows = try Row.fetchCursor(try cachedStatement(sql: query.description), arguments: arguments)
    while let row = try rows.next() {
      var row = IndexRow(row)
      try body(&row)
    }
  }
}
