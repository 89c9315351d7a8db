import Glibc

/// Files of the kernel's and of the system's, in one go.
enum SmallFile {
  /// What a file says, up to a limit in bytes; nil where it can't be read.
  static func text(_ path: String, limit: Int = 1 << 16) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var isRead = true
    let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
      while count < limit {
        let result = read(descriptor, buffer.baseAddress?.advanced(by: count), limit - count)
        if result < 0, errno == EINTR { continue }
        isRead = result >= 0
        if result <= 0 { break }
        count += result
      }
    }
    return isRead ? String(decoding: bytes, as: UTF8.self) : nil
  }
}
