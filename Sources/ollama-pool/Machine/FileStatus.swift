import Glibc

/// What stat(2) says of a file.
struct FileStatus: Equatable {
  var userID: uid_t
  var mode: mode_t

  /// nil if it can't be seen.
  init?(of path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    userID = status.st_uid
    mode = status.st_mode
  }

  var isFolder: Bool { mode & S_IFMT == S_IFDIR }
}
