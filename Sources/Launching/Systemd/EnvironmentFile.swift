import Glibc

/// The variables of an instance that are configured or inherited, in a file that root alone reads: a proxy's URL or a
/// token may be among them, and every user of the machine reads what stands in a unit itself.
struct EnvironmentFile: Equatable {
  let path: String
  let variables: [(name: String, value: String)]

  static func == (one: EnvironmentFile, other: EnvironmentFile) -> Bool {
    one.path == other.path && one.text == other.text
  }

  /// systemd.exec(5), EnvironmentFile=: within double quotes a backslash stands before these, and nothing else is special.
  var text: String {
    variables.map { name, value in
      "\(name)=\"" + value.map { "\"\\`$".contains($0) ? "\\\($0)" : String($0) }.joined() + "\"\n"
    }.joined()
  }

  /// Replaces the file, or takes it away where there is nothing to tell.
  func write() throws(LaunchError) {
    guard !variables.isEmpty else {
      unlink(path)
      return
    }
    let new = path + ".new"
    unlink(new)
    let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw failed() }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, rename(new, path) == 0 else { throw failed() }
  }

  private func failed() -> LaunchError {
    LaunchError(
      .refused,
      "\(path), with the variables that are configured for the instance, can't be written: \(Errno(code: errno).text)")
  }
}
