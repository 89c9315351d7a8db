import Glibc
package import PoolCore

/// The variables of an instance that are configured or inherited, in a file that root alone reads: a proxy's URL or a
/// token may be among them, and every user of the machine reads what stands in a unit itself.
package struct EnvironmentFile {
  private static let suffix = ".environment"

  let path: String
  let variables: [(name: String, value: String)]

  init(of id: InstanceID, in folder: String, _ variables: [(name: String, value: String)]) {
    path = "\(folder)/\(id)\(Self.suffix)"
    self.variables = variables
  }

  /// For systemd, which takes it for a pattern of glob(7).
  var pattern: String { Self.escaped(path, "\\*?[") }

  /// systemd.exec(5), EnvironmentFile=: within double quotes a backslash stands before these, and nothing else is
  /// special.
  var text: String { variables.map { "\($0.name)=\"\(Self.escaped($0.value, "\"\\`$"))\"\n" }.joined() }

  private static func escaped(_ text: String, _ special: String) -> String {
    var escaped = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      if special.unicodeScalars.contains(scalar) { escaped.append("\\") }
      escaped.append(scalar)
    }
    return String(escaped)
  }

  /// Replaces the file where it says something else, or takes it away where there is nothing to tell.
  func write() throws(LaunchError) {
    guard !variables.isEmpty else {
      unlink(path)
      return
    }
    // A full disk must not keep an instance from what is there already.
    if isWritten { return }
    do throws(Errno) {
      try ReplacedFile.write(Array(text.utf8), to: path, mode: 0o600)
    } catch {
      throw LaunchError(
        .refused,
        "\(path), with the variables that are configured for the instance, can't be written: \(error.text); "
          + "see whether the disk is full and who owns its folder")
    }
  }

  private var isWritten: Bool {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode == S_IFREG | 0o600, status.st_uid == geteuid() else { return false }
    return SmallFile.text(path, limit: text.utf8.count + 1)?.utf8.elementsEqual(text.utf8) ?? false
  }

  /// Takes away what is in the folder for other instances.
  package static func remove(in folder: String, exceptOf instances: Set<InstanceID>) {
    for name in FolderList.names(in: folder) {
      guard let end = [suffix, suffix + ".new"].first(where: name.hasSuffix),
        let id = InstanceID(validating: name.dropLast(end.utf8.count)), !instances.contains(id)
      else { continue }
      unlink("\(folder)/\(name)")
    }
  }
}
