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
  package let path: String
  private let workPath: String
  /// Held to the end: its lock keeps other writers out.
  private let lock: CInt
  private let database: DatabaseQueue

  /// - Throws: `RetrievalError`; the index is as it was.
  package init(_ path: String, model: String) throws {
    self.path = path
    workPath = path + ".new"
    lock = try Self.locked(workPath)
    do {
      database = try Self.open(workPath, from: path, lock, model: model)
    } catch {
      close(lock)
      throw RetrievalError(error, file: workPath)
    }
  }

  deinit { close(lock) }

  /// Root writes nothing where somebody else could put a link in its way.
  private static func checkOwner(of path: String) throws {
    var folder = stat()
    guard geteuid() == 0, stat(self.folder(of: path), &folder) == 0, folder.st_uid != 0 else { return }
    let owner = getpwuid(folder.st_uid).map { String(cString: $0.pointee.pw_name) } ?? "#\(folder.st_uid)"
    throw RetrievalError(
      .failed,
      "\(self.folder(of: path)) belongs to the user \(owner): run this as that one, with sudo -u '\(owner)', who has to "
        + "be able to read the documents")
  }

  private static func folder(of path: String) -> String {
    "/" + path.split(separator: "/").dropLast().joined(separator: "/")
  }

  private static func locked(_ path: String) throws -> CInt {
    try checkOwner(of: path)
    let file = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o640)
    guard file >= 0 else {
      throw RetrievalError(
        .failed,
        "\(path) can't be written (\(String(cString: strerror(errno)))): its folder must exist, and belong to the user "
          + "that runs this")
    }
    var (held, there) = (stat(), stat())
    guard flock(file, LOCK_EX | LOCK_NB) == 0, fstat(file, &held) == 0, stat(path, &there) == 0,
      held.st_ino == there.st_ino
    else {
      close(file)
      throw RetrievalError(
        .inUse, "\(path) is being written by another `ollama-pool index`: wait until that has ended")
    }
    return file
  }

  /// The work file, as an earlier run left it or as a copy of the index; empty where neither is usable for this model.
  private static func open(
    _ workPath: String, from path: String, _ lock: CInt, model: String
  ) throws -> DatabaseQueue {
    if let open = try? reuse(workPath, model: model) { return open }
    if access(path, F_OK) == 0 {
      // A file of somebody else's that has the name must not be replaced in the end.
      try IndexReading.open(path) { _ in }
      try copy(path, lock)
      if let open = try? reuse(workPath, model: model) { return open }
    }
    ftruncate(lock, 0)
    let database = try connect(workPath)
    try database.write { try IndexSchema.make($0, model: model) }
    return database
  }

  private static func reuse(_ path: String, model: String) throws -> DatabaseQueue? {
    let database = try connect(path)
    let isUsable = try database.read { database in
      try IndexSchema.check(database, path)
      return try String.fetchOne(database, sql: "SELECT value FROM about WHERE name = 'model'") == model
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
      try database.execute(sql: "PRAGMA journal_mode = DELETE; PRAGMA synchronous = NORMAL")
    }
    return database
  }

  private static func copy(_ path: String, _ target: CInt) throws {
    let source = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw RetrievalError(.failed, "\(path): \(String(cString: strerror(errno)))") }
    defer { close(source) }
    ftruncate(target, 0)
    lseek(target, 0, SEEK_SET)
    var count = 1
    while count > 0 { count = sendfile(target, source, nil, 1 << 24) }
    guard count == 0 else {
      throw RetrievalError(.failed, "\(path) can't be copied: \(String(cString: strerror(errno)))")
    }
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

  /// Puts a document in place of what the index has of it.
  ///
  /// - Precondition: a vector for each passage.
  package func put(
    _ document: String, _ mark: FileMark, content: [UInt8], title: String, _ passages: [(Passage, Vector)],
    at secondsSince1970: Int64
  ) throws {
    try writing { database in
      try database.execute(sql: "DELETE FROM document WHERE path = ?", arguments: [document])
      try database.execute(
        sql: "INSERT INTO document (path, title, bytes, modified_ns, hash, indexed_at) VALUES (?, ?, ?, ?, ?, ?)",
        arguments: [document, title, mark.bytes, mark.modifiedNanoseconds, Self.hash(content), secondsSince1970])
      let id = database.lastInsertedRowID
      let others = try Int.fetchOne(database, sql: "SELECT count(*) FROM passage") ?? 0
      guard others + passages.count <= IndexSchema.mostPassages else {
        throw RetrievalError(
          .full, "the index would have more than \(IndexSchema.mostPassages) passages: leave documents out")
      }
      for (passage, vector) in passages {
        try database.execute(
          sql: "INSERT INTO passage (document, title, text) VALUES (?, ?, ?)",
          arguments: [id, passage.title, passage.text])
        try database.execute(
          sql: "INSERT INTO vector (passage, numbers) VALUES (?, ?)",
          arguments: [database.lastInsertedRowID, vector.data])
      }
    }
  }

  /// Removes all documents that are not to stay.
  ///
  /// - Returns: how many there were.
  package func keep(_ stays: (String) -> Bool) throws -> Int {
    let gone = try reading { try String.fetchAll($0, sql: "SELECT path FROM document") }.filter { !stays($0) }
    try writing { database in
      for path in gone { try database.execute(sql: "DELETE FROM document WHERE path = ?", arguments: [path]) }
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
      throw RetrievalError(error, file: workPath)
    }
    // Of a folder of root's the group may be the dispatcher's.
    var folder = stat()
    if geteuid() == 0, stat(Self.folder(of: path), &folder) == 0 { fchown(lock, 0, folder.st_gid) }
    guard fsync(lock) == 0, rename(workPath, path) == 0 else {
      throw RetrievalError(.failed, "\(path) can't be put in place: \(String(cString: strerror(errno)))")
    }
  }

  private func reading<Value>(_ body: (Database) throws -> Value) throws -> Value {
    do { return try database.read(body) } catch { throw RetrievalError(error, file: workPath) }
  }

  private func writing<Value>(_ body: (Database) throws -> Value) throws -> Value {
    do { return try database.write(body) } catch { throw RetrievalError(error, file: workPath) }
  }
}
