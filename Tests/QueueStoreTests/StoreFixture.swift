import GRDB
import Glibc
import NIOCore
import NIOPosix
import TestSupport

@testable import QueueStore

/// A database in a folder of its own.
struct StoreFixture {
  static let eventLoop = MultiThreadedEventLoopGroup.singleton.next()

  let folder: TemporaryDirectory
  var path: String { folder.path(to: "pool.sqlite") }

  init() throws { folder = try TemporaryDirectory() }

  func open(_ limits: QueueStoreLimits = QueueStoreLimits()) async throws -> QueueStore {
    try await QueueStore.open(path, limits: limits, on: Self.eventLoop).get()
  }

  /// What comes to be in a fresh store, and what of it is there when it is opened again.
  func reopened(
    _ limits: QueueStoreLimits = QueueStoreLimits(), _ body: (QueueStore) async throws -> Void
  ) async throws -> StoredState {
    let store = try await open(limits)
    try await body(store)
    try await store.close().get()
    let again = try await open(limits)
    let state = try await again.load(usageSince: 0).get()
    try await again.close().get()
    return state
  }

  func size(of name: String) throws -> Int {
    var status = stat()
    guard stat(folder.path(to: name), &status) == 0 else { throw SystemCallFailed("stat \(name)") }
    return Int(status.st_size)
  }

  /// Works on the file without the store.
  func directly<Value>(_ body: (Database) throws -> Value) throws -> Value {
    let database = try DatabaseQueue(path: path)
    defer { try? database.close() }
    return try database.writeWithoutTransaction(body)
  }
}

extension QueueStore {
  /// A request of a session that is there already, or of none.
  func add(_ request: StoredRequest) -> EventLoopFuture<Void> { accept(request).map { _ in } }

  static func inMemory(_ limits: QueueStoreLimits = QueueStoreLimits()) async throws -> QueueStore {
    try await open(nil, limits: limits, on: StoreFixture.eventLoop).get()
  }

  var state: StoredState {
    get async throws { try await load(usageSince: 0).get() }
  }
}

extension WallTime: ExpressibleByIntegerLiteral {
  public init(integerLiteral milliseconds: Int64) { self.init(milliseconds: milliseconds) }
}

/// The code with which something fails, or nil where it doesn't.
func failure(_ body: () async throws -> Void) async throws -> QueueStoreError? {
  do {
    try await body()
    return nil
  } catch let error as QueueStoreError {
    return error
  }
}

/// What has to come back as it went in.
let strangeTexts = [
  "", "a\0b", "\0", "'; DROP TABLE request; --", "\" OR 1=1", "?1 :a $b @c", "è 🦙 日本 e\u{301}", "\u{FEFF}x\r\n",
  "\u{202E}abc", String(repeating: "x", count: 1 << 20),
]

extension StoredRequest {
  static func sample(_ place: Int64, session: String = "s", message: String = "Why?") -> StoredRequest {
    StoredRequest(
      id: "r\(place)", place: place, session: session, user: "anna", className: "free", model: "llama3:8b",
      message: message, isResumable: true, arrivedAt: WallTime(milliseconds: 1_700_000_000_000 &+ place))
  }
}

extension StoredSession {
  static func sample(_ id: String, usedAt: WallTime = 1000) -> StoredSession {
    StoredSession(id: id, owner: "anna", createdAt: 500, lastUsedAt: usedAt)
  }
}
