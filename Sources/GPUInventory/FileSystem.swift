import Glibc

/// The machine's files, or a tree that stands for them.
struct FileSystem: Sendable {
  /// Without a slash at its end.
  private let root: String

  /// - Parameter root: the folder that stands for `/`.
  init(root: String) {
    self.root = root.hasSuffix("/") ? String(root.dropLast()) : root
  }

  /// Longer than any file of sysfs or procfs that is read here.
  private static let longest = 16 * 1024
  /// More entries than any folder has that is listed here.
  private static let mostEntries = 16 * 1024

  enum Content: Equatable {
    case text(String)
    case missing
    /// errno.
    case unreadable(Int32)
  }

  /// What a file holds, without white space at its ends. A file that is too long, or no text, reads as an empty one.
  func content(of path: String) -> Content {
    let descriptor = open(root + path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { return [ENOENT, ENOTDIR].contains(errno) ? .missing : .unreadable(errno) }
    defer { close(descriptor) }
    var failure: Int32 = 0
    let text = withUnsafeTemporaryAllocation(byteCount: Self.longest, alignment: 1) { buffer -> String? in
      var length = 0
      while length < buffer.count {
        let count = Glibc.read(descriptor, buffer.baseAddress?.advanced(by: length), buffer.count - length)
        if count < 0, errno == EINTR { continue }
        if count < 0 { failure = errno }
        if count <= 0 { break }
        length += count
      }
      return length < buffer.count ? String(validating: buffer.prefix(length), as: UTF8.self) : nil
    }
    return failure != 0 ? .unreadable(failure) : .text(Self.trimmed(text ?? ""))
  }

  private static func trimmed(_ text: String) -> String {
    let rest = text.drop { $0.isWhitespace }
    guard let last = rest.lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return String(rest[...last])
  }

  /// As `content(of:)`; `nil` where there is nothing to read.
  func text(of path: String) -> String? {
    if case .text(let text) = content(of: path), !text.isEmpty { text } else { nil }
  }

  func number<Number: FixedWidthInteger>(in path: String, as type: Number.Type = Number.self) -> Number? {
    text(of: path).flatMap { Number($0) }
  }

  /// The names in a folder, sorted; empty where there is no such folder, or it can't be read.
  func names(in path: String) -> [String] { (try? list(path).get()) ?? [] }

  /// The names in a folder, sorted; none where there is no such folder, and the errno where it can't be read.
  func list(_ path: String) -> Result<[String], Failure> {
    guard let folder = opendir(root + path) else {
      return [ENOENT, ENOTDIR].contains(errno) ? .success([]) : .failure(Failure(code: errno))
    }
    defer { closedir(folder) }
    var names: [String] = []
    errno = 0
    while names.count < Self.mostEntries, let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
      errno = 0
    }
    return errno == 0 ? .success(names.sorted()) : .failure(Failure(code: errno))
  }

  struct Failure: Error { var code: Int32 }

  /// Where symbolic links lead to, as a path below the root.
  func realPath(of path: String) -> String? {
    guard let resolved = realpath(root + path, nil) else { return nil }
    defer { free(resolved) }
    let text = String(cString: resolved)
    guard
      let base = root.isEmpty
        ? ""
        : realpath(root, nil).map({ base in
          defer { free(base) }
          return String(cString: base)
        })
    else { return nil }
    return text.hasPrefix(base) ? String(text.dropFirst(base.count)) : nil
  }

  func exists(_ path: String) -> Bool { DeviceNode.exists(root + path) }
}
