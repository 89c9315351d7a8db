import Glibc

/// Where a path leads to, through all links.
package enum RealPath {
  /// nil where nothing is there, or it can't be seen.
  package static func of(_ path: String) -> String? {
    guard let text = realpath(path, nil) else { return nil }
    defer { free(text) }
    return String(cString: text)
  }
}
