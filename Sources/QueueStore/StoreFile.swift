import GRDB
import Glibc

/// Opens a database, and leaves alone what is not ours or can't be read.
enum StoreFile {
  /// In memory: it is gone with the last reference.
  static func inMemory() throws -> DatabaseQueue {
    let database = try DatabaseQueue()
    try Schema.migrator.migrate(database)
    return database
  }

  /// Makes the file where there is none. A file that is refused is as it was before.
  ///
  /// What is committed outlives this process, however it ends. At a power cut SQLite's write-ahead log may lose the
  /// last transactions, each as a whole and with all later ones: `synchronous = NORMAL` waits for the disk at
  /// checkpoints alone, after 1000 pages of the log. See https://sqlite.org/wal.html.
  static func open(_ path: String) throws(QueueStoreError) -> DatabaseQueue {
    do {
      try make(path)
      var configuration = Configuration()
      configuration.label = "ollama-pool.queue-store"
      // Before anything is read: two dispatchers with one queue would both answer it. The lock is the kernel's, and
      // ends with this process.
      configuration.prepareDatabase { database in
        try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
        // 512 KiB: much is written and little of it read again, while thousands wait.
        try database.execute(sql: "PRAGMA cache_size = -512")
        // What is deleted is gone from the file, too.
        try database.execute(sql: "PRAGMA secure_delete = ON")
      }
      let database = try DatabaseQueue(path: path, configuration: configuration)
      try database.writeWithoutTransaction { database in
        try check(database, path)
        let mode = try String.fetchOne(database, sql: "PRAGMA journal_mode = WAL")
        guard mode == "wal" else {
          throw QueueStoreError(
            .unusable, "\(path) is where SQLite can't keep a write-ahead log: name a folder on a local disk")
        }
        try database.execute(sql: "PRAGMA synchronous = NORMAL")
        // A burst's log is not kept at its full length.
        try database.execute(sql: "PRAGMA journal_size_limit = 16777216")
      }
      try Schema.migrator.migrate(database)
      return database
    } catch {
      throw QueueStoreError(error, "opening the store", file: path)
    }
  }

  /// Nobody else may read it. SQLite gives its log the same mode.
  private static func make(_ path: String) throws {
    // Never opened where it is there: closing it would give up the locks that this process has on it.
    let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    if descriptor >= 0 {
      close(descriptor)
    } else if errno != EEXIST || access(path, W_OK) != 0 {
      // SQLite would open a file that can only be read, and fail to lock it.
      let cause = String(cString: strerror(errno))
      throw QueueStoreError(
        .unusable,
        "\(path) can't be opened for writing: its folder must exist, and both must belong to the user that runs this",
        cause: cause)
    }
  }

  private static func check(_ database: Database, _ path: String) throws {
    let isEmpty = try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") == 0
    let application = try Int.fetchOne(database, sql: "PRAGMA application_id")
    guard isEmpty || application == Schema.applicationID else {
      throw QueueStoreError(
        .foreign, "\(path) is a database of another program's: name another folder, or move it away")
    }
    let version = try Schema.version(of: database)
    guard try version <= Schema.version && !Schema.migrator.hasBeenSuperseded(database) else {
      throw QueueStoreError(
        .newer,
        "\(path) was written by a newer ollama-pool: it has version \(version), and this program knows up to version "
          + "\(Schema.version). Install that one again, or move the file away to begin with an empty one")
    }
  }
}
