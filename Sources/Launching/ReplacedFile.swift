import Glibc

/// Files that others find as they were or as they are to be, and never half written.
package enum ReplacedFile {
  /// Replaces a file when its successor is on the disk.
  /// - Throws: what the system says; then the file is as it was.
  package static func write(_ bytes: [UInt8], to path: String, mode: UInt32) throws(Errno) {
    let new = path + ".new"
    // Of an attempt that came to no end, maybe with other rights.
    unlink(new)
    let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
    guard descriptor >= 0 else { throw .last }
    do throws(Errno) {
      defer { close(descriptor) }
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { throw .last }
      }
      guard fsync(descriptor) == 0, rename(new, path) == 0 else { throw .last }
    } catch {
      unlink(new)
      throw error
    }
    // Its name, too, against a loss of power. Where that can't be, it outlives this process all the same.
    let folder = open(path.lastIndex(of: "/").map { String(path[...$0]) } ?? ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else { return }
    fsync(folder)
    close(folder)
  }
}
