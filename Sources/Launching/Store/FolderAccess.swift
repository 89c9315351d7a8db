import CLinux
import Glibc

/// What a user may do with a folder and what is in it, as far as this process can tell.
enum FolderAccess: Equatable {
  case writable
  case readable
  /// The user gets no further than here: not into this folder, or not into one on the way.
  case closed(at: String)
  /// The first on the way that does not exist.
  case missing(at: String)
  case noFolder(at: String)
  /// This process can't look beyond this folder, or what is in it does not answer. Where the folder is the user's own
  /// it is a matter of course that what is in it is, too.
  case unseen(beyond: String, isUsers: Bool, error: String)

  /// - Parameter path: absolute; links in it are followed.
  init(of path: String, for user: User) {
    let resolved = RealPath.of(path) ?? path
    var status = stat()
    var last = (path: "/", status: stat())
    var next = ""
    for part in [Substring()] + resolved.split(separator: "/") {
      next = part.isEmpty ? "/" : (next == "/" ? "" : next) + "/" + part
      guard stat(next, &status) == 0 else {
        self = Self.end(at: next, errno, after: last.path, last.status, user)
        return
      }
      guard status.st_mode & S_IFMT == S_IFDIR else {
        self = .noFolder(at: next)
        return
      }
      last = (next, status)
    }
    let barrier = Self.barrier(onTheWayTo: resolved, user)
    switch Self.asked(resolved, user) {
    case .closed?: self = .closed(at: barrier ?? resolved)
    case let access?: self = access
    case nil: self = barrier.map { .closed(at: $0) } ?? Self.judged(resolved, status, user)
    }
  }

  /// Where the way ends for this process.
  private static func end(
    at path: String, _ code: Int32, after folder: String, _ status: stat, _ user: User
  ) -> FolderAccess {
    if code == ENOENT { return .missing(at: path) }
    if FileRights.rights(of: user, to: folder, status) & 1 == 0 { return .closed(at: folder) }
    return .unseen(beyond: folder, isUsers: status.st_uid == user.userID, error: Errno(code: code).text)
  }

  /// The file system's own word, where this process is that user or may act as it. Ways into the folder count too.
  private static func asked(_ path: String, _ user: User) -> FolderAccess? {
    func may(_ mode: Int32) -> Bool? {
      if geteuid() == user.userID { return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 }
      let groups = user.groups.sorted()
      let result = clinux_access_as(user.userID, user.groupID, groups, UInt(groups.count), path, mode)
      return result < 0 ? nil : result == 0
    }
    guard let isReadable = may(R_OK | X_OK), let isWritable = may(R_OK | W_OK | X_OK) else { return nil }
    return isWritable ? .writable : isReadable ? .readable : .closed(at: path)
  }

  private static func judged(_ path: String, _ status: stat, _ user: User) -> FolderAccess {
    let rights = FileRights.rights(of: user, to: path, status)
    return rights == 7 ? .writable : rights & 5 == 5 ? .readable : .closed(at: path)
  }

  /// The first folder on the way to a path that the user may not go through.
  private static func barrier(onTheWayTo path: String, _ user: User) -> String? {
    var next = ""
    for part in path.split(separator: "/").dropLast() {
      next += "/" + part
      var status = stat()
      if stat(next, &status) == 0, FileRights.rights(of: user, to: next, status) & 1 == 0 { return next }
    }
    return nil
  }
}
