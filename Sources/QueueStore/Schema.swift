import GRDB

/// The tables, and how they came to be. A migration that was released is never changed: a further one is added.
///
/// Texts from outside are BLOBs with their UTF-8, see `String.stored`; words of the program's own are TEXT. Times are
/// milliseconds since 1970.
enum Schema {
  /// In the file's header, by which it is known to be this program's: "OPQS".
  static let applicationID = 0x4f50_5153

  /// By number, from "1" on.
  static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1") { database in
      try database.execute(sql: first.description)
    }
    return migrator
  }

  /// The number of the last migration that this program has.
  static var version: Int { migrator.migrations.count }

  /// The number of the last migration that a database has had; 0 for a new one.
  static func version(of database: Database) throws -> Int {
    try migrator.appliedIdentifiers(database).compactMap { Int($0) }.max() ?? 0
  }

  private static let first: StaticString = """
    PRAGMA application_id = 0x4f505153;

    CREATE TABLE api_key (
      id BLOB PRIMARY KEY NOT NULL,
      name BLOB NOT NULL,
      hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
      role TEXT NOT NULL,
      class BLOB,
      requests_per_hour INTEGER,
      tokens_per_hour INTEGER,
      concurrent INTEGER,
      waiting INTEGER,
      created_at INTEGER NOT NULL,
      revoked_at INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX api_key_name ON api_key (name) WHERE revoked_at IS NULL;

    CREATE TABLE session (
      id BLOB PRIMARY KEY NOT NULL,
      owner BLOB NOT NULL,
      created_at INTEGER NOT NULL,
      last_used_at INTEGER NOT NULL,
      has_messages INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_last_used ON session (last_used_at);
    -- In the order in which they go where there are too many.
    CREATE INDEX session_order ON session (has_messages, last_used_at);
    CREATE INDEX session_owner ON session (owner, has_messages, last_used_at);

    -- SQLite would count them one by one.
    CREATE TABLE session_count (number INTEGER NOT NULL) STRICT;
    INSERT INTO session_count VALUES (0);
    CREATE TRIGGER session_added AFTER INSERT ON session BEGIN UPDATE session_count SET number = number + 1; END;
    CREATE TRIGGER session_gone AFTER DELETE ON session BEGIN UPDATE session_count SET number = number - 1; END;

    -- The content comes last: what is before it is read without it.
    CREATE TABLE message (
      number INTEGER PRIMARY KEY NOT NULL,
      session BLOB NOT NULL REFERENCES session (id) ON DELETE CASCADE,
      bytes INTEGER NOT NULL,
      role TEXT NOT NULL,
      model BLOB,
      request BLOB,
      idempotency_key BLOB,
      at INTEGER NOT NULL,
      sources BLOB,
      content BLOB NOT NULL
    ) STRICT;
    CREATE INDEX message_session ON message (session, number, bytes);

    CREATE TABLE request (
      place INTEGER PRIMARY KEY NOT NULL,
      id BLOB NOT NULL UNIQUE,
      session BLOB NOT NULL,
      user BLOB NOT NULL,
      class BLOB NOT NULL,
      key BLOB,
      priority BLOB,
      model BLOB,
      language BLOB,
      is_resumable INTEGER NOT NULL,
      idempotency_key BLOB,
      state TEXT NOT NULL,
      attempts INTEGER NOT NULL,
      arrived_at INTEGER NOT NULL,
      message BLOB NOT NULL
    ) STRICT;
    CREATE INDEX request_session ON request (session);

    CREATE TABLE usage (
      user BLOB NOT NULL,
      minute INTEGER NOT NULL,
      requests INTEGER NOT NULL,
      tokens INTEGER NOT NULL,
      PRIMARY KEY (user, minute)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX usage_minute ON usage (minute);
    """
}
