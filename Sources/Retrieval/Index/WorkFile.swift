import Glibc

/// The file beside an index in which the next one is written. As long as it is held its lock keeps other writers out.
struct WorkFile: ~Copyable {
  let path: String
  private let index: String
  private let descriptor: CInt

  /// - Throws: `RetrievalError`; nothing is there then that was not there before, and nothing has changed.
  init(beside index: String) throws {
    self.index = index
    path = index + ".new"
    try Self.checkIsReplaceable(index)
    try Self.checkOwner(of: Self.folder(of: index))
    descriptor = try Self.locked(path)
  }

  deinit { close(descriptor) }

  /// A file of somebody else's that has the name must not be replaced in the end.
  private static func checkIsReplaceable(_ index: String) throws {
    let file = open(index, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else {
      if errno == ENOENT { return }
      throw RetrievalError(.failed, "\(index) can't be read (\(String(cString: strerror(errno))))")
    }
    defer { close(file) }
    guard IndexSchema.isIndex(file) else { throw IndexSchema.foreign(index) }
  }

  /// Root writes nothing where somebody else could put a link in its way.
  private static func checkOwner(of folder: String) throws {
    var status = stat()
    guard geteuid() == 0, stat(folder, &status) == 0, status.st_uid != 0 else { return }
    let owner = getpwuid(status.st_uid).map { String(cString: $0.pointee.pw_name) } ?? "#\(status.st_uid)"
    throw RetrievalError(
      .failed,
      "\(folder) belongs to the user \(owner): run this as that one, with sudo -u '\(owner)', who has to be able to read "
        + "the documents")
  }

  private static func folder(of path: String) -> String {
    "/" + path.split(separator: "/").dropLast().joined(separator: "/")
  }

  private static func locked(_ path: String) throws -> CInt {
    let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o640)
    guard file >= 0 else {
      throw RetrievalError(
        .failed,
        "\(path) can't be written (\(String(cString: strerror(errno)))): its folder must exist, and belong to the user "
          + "that runs this")
    }
    var (held, there) = (stat(), stat())
    guard flock(file, LOCK_EX | LOCK_NB) == 0, fstat(file, &held) == 0, stat(path, &there) == 0,
      held.st_ino == there.st_ino
    else {
      close(file)
      throw RetrievalError(
        .inUse, "\(path) is being written by another `ollama-pool index`: wait until that has ended")
    }
    guard held.st_size == 0 && held.st_mode & S_IFMT == S_IFREG || IndexSchema.isIndex(file) else {
      close(file)
      throw RetrievalError(
        .damaged, "\(path) is where the new index is written, and something else is there: move it away")
    }
    return file
  }

  /// Makes it a copy of the index; empty where there is none.
  func copyIndex() throws {
    clear()
    let source = open(index, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { return }
    defer { close(source) }
    lseek(descriptor, 0, SEEK_SET)
    var count = 1
    while count > 0 { count = sendfile(descriptor, source, nil, 1 << 24) }
    guard count == 0 else {
      throw RetrievalError(.failed, "\(index) can't be copied to \(path): \(String(cString: strerror(errno)))")
    }
  }

  func clear() { ftruncate(descriptor, 0) }

  func takePlaceOfIndex() throws {
    // Of a folder of root's the group may be the dispatcher's.
    var folder = stat()
    if geteuid() == 0, stat(Self.folder(of: path), &folder) == 0 { fchown(descriptor, 0, folder.st_gid) }
    guard fsync(descriptor) == 0, rename(path, index) == 0 else {
      throw RetrievalError(.failed, "\(index) can't be put in place: \(String(cString: strerror(errno)))")
    }
  }
}
