import Foundation
import GRDB
import Glibc
import NIOCore
import TestSupport
import Testing

@testable import QueueStore

/// The file: whose it is, and what is refused.
struct FileTests {
  /// That opening fails, and that neither the file nor what lies beside it changes.
  private func refusal(_ fixture: StoreFixture) async throws -> QueueStoreError {
    func files() throws -> [String: Data?] {
      let names = try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path)
      return Dictionary(
        uniqueKeysWithValues: names.map { ($0, FileManager.default.contents(atPath: fixture.folder.path(to: $0))) })
    }
    let before = try files()
    let error = try #require(try await failure { _ = try await fixture.open() })
    #expect(try files() == before)
    #expect(error.message.contains(fixture.path))
    return error
  }

  @Test func `nobody else may read it, nor its log`() async throws {
    let fixture = try StoreFixture()
    let store = try await fixture.open()
    try await store.add(.sample(1)).get()
    for name in ["pool.sqlite", "pool.sqlite-wal"] {
      var status = stat()
      #expect(stat(fixture.folder.path(to: name), &status) == 0)
      #expect(status.st_mode & 0o777 == 0o600, "\(name)")
    }
    try await store.close().get()
    #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path) == ["pool.sqlite"])
  }

  @Test func `it is the first version, and known as ours`() async throws {
    let fixture = try StoreFixture()
    _ = try await fixture.reopened { _ in }
    let (version, mode, integrity) = try fixture.directly { database in
      (
        try Schema.version(of: database), try String.fetchOne(database, sql: "PRAGMA journal_mode"),
        try String.fetchAll(database, sql: "PRAGMA integrity_check")
      )
    }
    #expect(version == 1 && mode == "wal" && integrity == ["ok"])
    #expect(Schema.version == 1)
  }

  @Test func `an empty file is a new one`() async throws {
    let fixture = try StoreFixture()
    try fixture.folder.write("", to: "pool.sqlite", permissions: 0o600)
    let state = try await fixture.reopened { try await $0.add(.sample(1)).get() }
    #expect(state.requests.count == 1)
  }

  @Test func `one of a newer version is refused, with its version and what helps`() async throws {
    let fixture = try StoreFixture()
    _ = try await fixture.reopened { try await $0.add(.sample(1)).get() }
    try fixture.directly { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('2'), ('3')") }
    let error = try await refusal(fixture)
    #expect(error.code == .newer)
    for words in ["version 3", "up to version 1", "Install", "move the file away"] {
      #expect(error.message.contains(words), "\(error)")
    }
    try fixture.directly { try $0.execute(sql: "DELETE FROM grdb_migrations WHERE identifier > '1'") }
    let store = try await fixture.open()
    #expect(try await store.state.requests.count == 1)
    try await store.close().get()
  }

  @Test func `one of another program is refused`() async throws {
    let fixture = try StoreFixture()
    try fixture.directly { try $0.execute(sql: "CREATE TABLE bookmark (address TEXT)") }
    let error = try await refusal(fixture)
    #expect(error.code == .foreign && error.message.contains("another program"), "\(error)")
  }

  @Test func `what is no database is refused`() async throws {
    let fixture = try StoreFixture()
    try fixture.folder.write(String(repeating: "not a database\n", count: 1000), to: "pool.sqlite")
    let error = try await refusal(fixture)
    #expect(error.code == .damaged)
    for words in ["damaged", "put a copy of it back", "move it away"] { #expect(error.message.contains(words)) }
    #expect(error.cause?.contains("26") == true, "\(error)")
  }

  @Test func `one whose schema is damaged is refused, one with a damaged table says so when that is read`() async throws
  {
    let fixture = try StoreFixture()
    _ = try await fixture.reopened { store in
      for place in 0..<200 { try await store.add(.sample(Int64(place))).get() }
    }
    let size = try fixture.size(of: "pool.sqlite")
    let file = try #require(FileHandle(forUpdatingAtPath: fixture.path))
    let first = try #require(try file.read(upToCount: 4096))
    // All pages but the one with the header and the schema.
    try file.seek(toOffset: 4096)
    try file.write(contentsOf: Data(repeating: 0x5a, count: size - 4096))
    let damaged = try await failure {
      let store = try await fixture.open()
      defer { _ = store.close() }
      _ = try await store.state
    }
    #expect(damaged?.code == .damaged && damaged?.message.contains(fixture.path) == true, "\(damaged as Any)")
    try file.seek(toOffset: 0)
    try file.write(contentsOf: first.prefix(100) + Data(repeating: 0x5a, count: 3996))
    #expect(try await refusal(fixture).code == .damaged)
  }

  @Test func `one that is in use is refused, within this process too`() async throws {
    let fixture = try StoreFixture()
    let store = try await fixture.open()
    let error = try #require(try await failure { _ = try await fixture.open() })
    #expect(error.code == .inUse && error.message.contains("in use by another process"), "\(error)")
    let path = fixture.path
    await #expect(processExitsWith: .success) { [path = path as String] in
      let code = try await failure { _ = try await QueueStore.open(path, on: StoreFixture.eventLoop).get() }?.code
      #expect(code == .inUse)
    }
    try await store.add(.sample(1)).get()
    try await store.close().get()
    let again = try await fixture.open()
    #expect(try await again.state.requests.count == 1)
    try await again.close().get()
  }

  @Test func `a folder that is missing is told`() async throws {
    let fixture = try StoreFixture()
    let path = fixture.folder.path(to: "missing/pool.sqlite")
    let error = try #require(
      try await failure { _ = try await QueueStore.open(path, on: StoreFixture.eventLoop).get() })
    #expect(error.code == .unusable && error.message.contains(path), "\(error)")
    #expect(error.cause == "No such file or directory")
    let folder = try #require(
      try await failure { _ = try await QueueStore.open(fixture.folder.path, on: StoreFixture.eventLoop).get() })
    #expect(folder.code == .unusable, "\(folder)")
  }

  @Test func `what can only be read is refused, new or not`() async throws {
    let fixture = try StoreFixture()
    _ = try await fixture.reopened { try await $0.add(.sample(1)).get() }
    let writable = fixture.folder.path(to: "writable.sqlite")
    try FileManager.default.copyItem(atPath: fixture.path, toPath: writable)
    chmod(fixture.path, 0o444)
    chmod(writable, 0o666)
    chmod(fixture.folder.path, 0o555)
    let folder = fixture.folder.path
    await #expect(processExitsWith: .success) { [folder = folder as String] in
      // The superuser may write everywhere.
      if geteuid() == 0 { try #require(setgid(65534) == 0 && setuid(65534) == 0) }
      for name in ["pool.sqlite", "new.sqlite", "writable.sqlite"] {
        let error = try await failure {
          _ = try await QueueStore.open("\(folder)/\(name)", on: StoreFixture.eventLoop).get()
        }
        #expect(error?.code == .unusable && error?.message.contains(name) == true, "\(error as Any)")
      }
    }
    chmod(fixture.folder.path, 0o755)
    let store = try await fixture.open()
    #expect(try await store.state.requests.count == 1)
    try await store.close().get()
  }

  @Test func `where the disk takes no more, calls fail and the store goes on`() async throws {
    let fixture = try StoreFixture()
    let path = fixture.path
    await #expect(processExitsWith: .success) { [path = path as String] in
      let store = try await QueueStore.open(path, on: StoreFixture.eventLoop).get()
      try await store.add(.sample(1)).get()
      signal(SIGXFSZ, SIG_IGN)
      let largestFile = __rlimit_resource_t(RLIMIT_FSIZE.rawValue)
      var limit = rlimit()
      try #require(getrlimit(largestFile, &limit) == 0)
      limit.rlim_cur = 1 << 20
      try #require(setrlimit(largestFile, &limit) == 0)
      // Together with one that is too large, and each for itself.
      let calls = (2...9).map {
        store.add(.sample($0, message: $0 == 5 ? String(repeating: "a secret ", count: 1 << 18) : "small"))
      }
      let error = try await failure { try await calls[3].get() }
      #expect(error?.code == .failed && error?.message.contains(path) == true, "\(error as Any)")
      #expect(error.map { !"\($0)".contains("secret") } == true)
      for (number, call) in calls.enumerated() where number != 3 { try await call.get() }
      limit.rlim_cur = limit.rlim_max
      try #require(setrlimit(largestFile, &limit) == 0)
      try await store.add(.sample(10)).get()
      #expect(try await store.state.requests.map(\.place) == [1, 2, 3, 4, 6, 7, 8, 9, 10])
      try await store.close().get()
    }
    let store = try await fixture.open()
    #expect(try await store.state.requests.count == 9)
    try await store.close().get()
  }
}
