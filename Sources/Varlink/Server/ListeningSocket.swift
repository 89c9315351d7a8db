import Glibc
import NIOCore

/// A Unix stream socket that listens: its descriptor, and its file if this process made one.
struct ListeningSocket {
  /// Connections that wait to be accepted; a further `connect` fails with EAGAIN.
  private static let backlog: CInt = 512

  let descriptor: CInt
  let file: SocketFile?

  /// A descriptor that another process, as the service manager, has set to listen.
  /// - Throws: `.cannotListen` if it is none.
  static func inherited(_ descriptor: CInt) throws(VarlinkError) -> Self {
    let name = "descriptor \(descriptor)"
    func option(_ option: CInt) throws(VarlinkError) -> CInt {
      var value: CInt = 0
      var length = socklen_t(MemoryLayout<CInt>.size)
      guard getsockopt(descriptor, SOL_SOCKET, option, &value, &length) == 0 else {
        throw .cannotListen(at: name, errno: errno, "pass a Unix socket that listens")
      }
      return value
    }
    let isStream = try option(SO_TYPE) == CInt(SOCK_STREAM.rawValue)
    guard isStream, try option(SO_DOMAIN) == AF_UNIX, try option(SO_ACCEPTCONN) == 1 else {
      throw .cannotListen(at: name, errno: EINVAL, "pass a Unix stream socket that listens")
    }
    return Self(descriptor: descriptor, file: nil)
  }

  /// A new socket file at `path`, in the place of one on which nobody answers.
  /// - Parameter mode: of the file, from the first moment on never wider.
  /// - Throws: `.cannotListen`: EADDRINUSE if somebody answers at `path`, ENOTSOCK if something else lies there,
  ///   ENAMETOOLONG, or whatever the kernel says.
  static func bound(to path: String, mode: mode_t) throws(VarlinkError) -> Self {
    guard let address = try? SocketAddress(unixDomainSocketPath: path) else {
      throw .cannotListen(at: path, errno: ENAMETOOLONG, "a socket's path is at most 107 bytes long")
    }
    let lock = try DirectoryLock(forFile: path)
    defer { lock.release() }
    try clearStaleFile(at: path, address)

    let descriptor = try newSocket(for: path)
    // The mode given before the binding is the one the file is made with, less the umask: nobody slips in meanwhile.
    guard
      fchmod(descriptor, mode) == 0,
      address.withSockAddr({ bind(descriptor, $0, socklen_t($1)) }) == 0,
      chmod(path, mode) == 0,
      listen(descriptor, backlog) == 0,
      let file = SocketFile(at: path)
    else {
      let code = errno
      close(descriptor)
      throw .cannotListen(at: path, errno: code, "see whether the folder exists and this user may write to it")
    }
    return Self(descriptor: descriptor, file: file)
  }

  private static func clearStaleFile(at path: String, _ address: SocketAddress) throws(VarlinkError) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFSOCK else {
      throw .cannotListen(at: path, errno: ENOTSOCK, "something else lies there: move it away, or name another path")
    }
    let probe = try newSocket(for: path)
    defer { close(probe) }
    let connected = address.withSockAddr { connect(probe, $0, socklen_t($1)) } == 0
    // EAGAIN is a full backlog: somebody listens.
    if connected || errno == EAGAIN {
      throw .cannotListen(
        at: path, errno: EADDRINUSE, "another process answers there: stop it first, or name another path")
    }
    guard errno == ECONNREFUSED, unlink(path) == 0 || errno == ENOENT else {
      throw .cannotListen(at: path, errno: errno, "an old socket lies there and cannot be removed")
    }
  }

  private static func newSocket(for path: String) throws(VarlinkError) -> CInt {
    let flags = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    let descriptor = socket(AF_UNIX, flags, 0)
    guard descriptor >= 0 else { throw .cannotListen(at: path, errno: errno, "no socket can be made") }
    return descriptor
  }
}

/// A socket's file, by identity: the path may meanwhile belong to a successor.
struct SocketFile: Sendable {
  private let path: String
  private let device: dev_t
  private let inode: ino_t

  /// nil if there is no file at `path`.
  init?(at path: String) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return nil }
    self.path = path
    device = status.st_dev
    inode = status.st_ino
  }

  /// Removes the file, unless another one has taken its place.
  func remove() {
    guard let present = SocketFile(at: path), present.device == device, present.inode == inode else { return }
    unlink(path)
  }
}

/// Held while a stale socket is replaced: of two processes that start at the same time, the second one must not take
/// the first one's new socket for the stale one. It is a lock on the folder itself and leaves no file behind.
private struct DirectoryLock {
  private let descriptor: CInt

  init(forFile path: String) throws(VarlinkError) {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw .cannotListen(at: path, errno: errno, "make the folder \(folder), or name another path")
    }
    // Whoever may read the folder can take this lock: it is waited for, but not for ever.
    for _ in 0..<100 {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return }
      usleep(10_000)
    }
    close(descriptor)
    throw .cannotListen(at: path, errno: EWOULDBLOCK, "another process holds a lock on the folder \(folder)")
  }

  /// Closing the descriptor releases the lock.
  func release() { close(descriptor) }
}
