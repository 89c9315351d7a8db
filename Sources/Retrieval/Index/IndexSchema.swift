import GRDB
import Glibc

/// What an index file holds.
///
/// A finished file is never changed: the next run of `ollama-pool index` writes another one and puts it in its place.
/// So whoever searches sees one whole index, needs no right to write, and no log of SQLite's beside it.
enum IndexSchema {
  /// Of this program's indexes: "OPDX".
  static let applicationID: Int32 = 0x4F50_4458
  static let version: Int32 = 2

  /// Passages that one index may hold. Each is read for every question.
  static let mostPassages = 200_000
  /// The largest of SQLite's: a search reads a vector's page for each passage, one after the other.
  static let pageBytes = 65_536
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
  static func make(_ database: Database, model: IndexedModel) throws {
    try database.execute(sql: statements)
    try model.write(database)
    try database.execute(sql: "PRAGMA application_id = \(applicationID)")
    try database.execute(sql: "PRAGMA user_version = \(version)")
  }

  static func check(_ database: Database, _ path: String) throws {
    guard try Int32.fetchOne(database, sql: "PRAGMA application_id") == applicationID else { throw foreign(path) }
    let found = try Int32.fetchOne(database, sql: "PRAGMA user_version") ?? 0
    guard found == version else {
      throw RetrievalError(
        .otherVersion,
        "\(path) has version \(found) of the index, and this program has \(version): run `ollama-pool index` again")
    }
  }

  /// Whether a file begins as an index of any version, and may so be replaced by another one.
  static func isIndex(_ file: CInt) -> Bool {
    // https://sqlite.org/fileformat2.html#the_database_header: the application ID is the number at 68, big-endian.
    var header = [UInt8](repeating: 0, count: 72)
    guard pread(file, &header, header.count, 0) == header.count else { return false }
    return header.starts(with: Array("SQLite format 3\0".utf8))
      && header[68...].reduce(0) { $0 << 8 | Int32($1) } == applicationID
  }

  static func foreign(_ path: String) -> RetrievalError {
    RetrievalError(.damaged, "\(path) is no index of `ollama-pool index`: name another file, or move it away")
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
