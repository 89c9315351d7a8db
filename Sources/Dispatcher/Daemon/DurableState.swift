import Credentials
import Glibc
import NIOCore
import PoolConfiguration
import QueueStore

/// What outlives the dispatcher: the database, and the secret by which cookies are signed.
struct DurableState: Sendable {
  let store: QueueStore
  let secret: CookieSecret
  let stored: StoredState
  /// nil where it can't be kept, and why: nobody lacks an answer for it.
  let history: Result<RequestHistory, QueueStoreError>?

  private static let databaseName = "pool.sqlite"
  private static let historyName = "history.sqlite"
  private static let secretName = "cookie-secret"
  /// - Parameter folder: nil for a state that ends with the process.
  /// - Throws: `DispatcherError`. Keys that can't be read are not taken for none: anybody would be let in.
  static func open(_ folder: String?, _ settings: Settings, on loop: any EventLoop) async throws -> DurableState {
    let secret = try secret(in: folder)
    do {
      let store = try await QueueStore.open(folder.map { "\($0)/\(databaseName)" }, on: loop).get()
      _ = try await store.deleteSessions(lastUsedBefore: .now - settings.chat.sessionLifetime).get()
      let stored = try await store.load(usageSince: WallTime.now.minute - UsageKeeping.minutes).get()
      let history = await history(in: folder, on: loop)
      return DurableState(store: store, secret: secret, stored: stored, history: history)
    } catch let error as QueueStoreError {
      throw DispatcherError(code: .unusableState, message: error.description)
    }
  }

  private static func history(
    in folder: String?, on loop: any EventLoop
  ) async -> Result<RequestHistory, QueueStoreError>? {
    guard let folder else { return nil }
    do {
      return .success(try await RequestHistory.open("\(folder)/\(historyName)", on: loop).get())
    } catch {
      return .failure(QueueStoreError(of: error))
    }
  }

  /// Made at the first start, for this user alone; whole, or not at all.
  private static func secret(in folder: String?) throws(DispatcherError) -> CookieSecret {
    guard let folder else { return CookieSecret(bytes: CookieSecret.randomBytes()) }
    let path = "\(folder)/\(secretName)"
    if access(path, F_OK) == 0 { return CookieSecret(bytes: try read(path)) }
    let new = path + ".new"
    unlink(new)
    let made = Glibc.open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard made >= 0 else {
      throw .unusableState(
        path, "can't be made: \(String(cString: strerror(errno)))",
        remedy: "its folder must exist, and belong to the user that runs this")
    }
    defer { close(made) }
    let bytes = CookieSecret.randomBytes()
    guard write(made, bytes, bytes.count) == bytes.count, fsync(made) == 0, rename(new, path) == 0 else {
      let problem = String(cString: strerror(errno))
      unlink(new)
      throw .unusableState(path, "can't be written: \(problem)", remedy: "see whether the disk is full")
    }
    return CookieSecret(bytes: bytes)
  }

  private static func read(_ path: String) throws(DispatcherError) -> [UInt8] {
    let file = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else {
      throw .unusableState(
        path, "can't be read: \(String(cString: strerror(errno)))", remedy: "its user must be able to read it")
    }
    defer { close(file) }
    // As a copy or a backup may have left it: whoever reads it can sign in as anybody.
    var status = stat()
    guard fstat(file, &status) == 0, status.st_mode & 0o077 == 0 || fchmod(file, 0o600) == 0 else {
      throw .unusableState(
        path, "may be read by others, and can't be kept from them: \(String(cString: strerror(errno)))",
        remedy: "remove it: a new one is made, and whoever is signed in has to do so again")
    }
    var bytes = [UInt8](repeating: 0, count: CookieSecret.byteCount + 1)
    guard Glibc.read(file, &bytes, bytes.count) == CookieSecret.byteCount else {
      throw .unusableState(
        path, "is no secret of \(CookieSecret.byteCount) bytes",
        remedy: "remove it: a new one is made, and whoever is signed in has to do so again")
    }
    return Array(bytes.dropLast())
  }
}

extension DispatcherError {
  fileprivate static func unusableState(_ path: String, _ problem: String, remedy: String) -> DispatcherError {
    DispatcherError(code: .unusableState, message: "\(path) \(problem): \(remedy)")
  }
}
