import Glibc
import Launching
import Systemd

/// The folders that a pool keeps things in.
enum Folders {
  /// Where the supervisor keeps GPU numbers, what operators ordered, and the variables configured for instances.
  static func state(
    userID: uid_t = geteuid(), stateHome: String? = Environment["XDG_STATE_HOME"], home: String? = Environment["HOME"]
  ) -> String {
    if userID == 0 { return "/var/lib/ollama-pool" }
    return (stateHome ?? "\(home ?? "/tmp/ollama-pool-\(userID)")/.local/state") + "/ollama-pool"
  }

  /// Makes a folder and those above it where they are missing.
  /// - Parameter mode: of those that are made.
  static func make(_ path: String, mode: mode_t) throws(CommandFailure) {
    var made = path.hasPrefix("/") ? "" : "."
    for part in path.split(separator: "/") {
      made += "/\(part)"
      if mkdir(made, mode) == 0 || errno == EEXIST || errno == EISDIR { continue }
      throw unusable(path)
    }
    guard let status = FileStatus(of: path), status.isFolder, access(path, W_OK | X_OK) == 0 else {
      throw unusable(path)
    }
    // In a folder that all may write to, such as /tmp, somebody else may have been first.
    guard status.userID == geteuid() || status.userID == 0 else {
      throw CommandFailure(
        "the folder \(path) belongs to \(User.name(of: status.userID)): name another one, see `ollama-pool serve --help`"
      )
    }
  }

  private static func unusable(_ path: String) -> CommandFailure {
    CommandFailure(
      "the folder \(path) can't be made or written to (\(describe(errno: errno))): correct its owner, or name "
        + "another one, see `ollama-pool serve --help`")
  }
}
