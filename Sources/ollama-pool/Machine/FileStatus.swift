import Glibc

/// What stat(2) says of a file.
struct FileStatus: Equatable {
  var userID: uid_t
  var groupID: gid_t
  var mode: mode_t

  /// nil if it can't be seen.
  init?(of path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    userID = status.st_uid
    groupID = status.st_gid
    mode = status.st_mode
  }

  var isFolder: Bool { mode & S_IFMT == S_IFDIR }

  /// `drwxr-x---` without the first letter.
  var permissions: String {
    let letters = Array("rwxrwxrwx")
    return String((0..<9).map { mode & (0o400 >> mode_t($0)) != 0 ? letters[$0] : "-" })
  }

  /// Whether the mode's bits let a user do all of `rights`, which are bits as in the last digit: 4, 2, 1.
  func allows(_ rights: mode_t, userID: uid_t, groups: Set<gid_t>) -> Bool {
    if userID == 0 { return true }
    let shift: mode_t = userID == self.userID ? 6 : groups.contains(groupID) ? 3 : 0
    return mode >> shift & rights == rights
  }
}
