import Glibc

/// The folders that hold a pool's control sockets, and which of them is meant.
struct SocketFolder: Equatable {
  /// Paths of the daemons' sockets.
  var dispatcher: String
  var supervisor: String

  subscript(daemon: Daemon) -> String {
    switch daemon {
    case .dispatcher: dispatcher
    case .supervisor: supervisor
    }
  }

  static let system = SocketFolder(folder: "/run/ollama-pool")

  init(folder: String) {
    let prefix = folder.hasSuffix("/") ? folder : folder + "/"
    dispatcher = prefix + Daemon.dispatcher.socketName
    supervisor = prefix + Daemon.supervisor.socketName
  }

  /// What a person names: the folder, one of the two sockets (the other one lies beside it), or a socket of any other
  /// name, at which both are looked for.
  init(named path: String) {
    guard let name = path.split(separator: "/").last, Daemon.allCases.contains(where: { $0.socketName == name }) else {
      self.init(folder: path)
      var status = stat()
      if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK {
        dispatcher = path
        supervisor = path
      }
      return
    }
    let folder = path.dropLast(name.count)
    self.init(folder: folder.isEmpty ? "./" : String(folder))
  }

  /// Where `serve` makes its sockets: root's are those that the units use, anyone else's are in the folder of the
  /// session, or one of their own under /tmp where there is no session.
  static func own(userID: uid_t = geteuid(), runtimeFolder: String? = Environment["XDG_RUNTIME_DIR"]) -> String {
    if userID == 0 { return "/run/ollama-pool" }
    return runtimeFolder.map { $0 + "/ollama-pool" } ?? temporary(userID)
  }

  private static func temporary(_ userID: uid_t) -> String { "/tmp/ollama-pool-\(userID)" }

  /// The folders to look into, first to last, where no one was named.
  static func candidates(
    userID: uid_t = geteuid(), runtimeFolder: String? = Environment["XDG_RUNTIME_DIR"]
  ) -> [SocketFolder] {
    var folders = runtimeFolder.map { [SocketFolder(folder: $0 + "/ollama-pool")] } ?? []
    // /tmp is everybody's: what lies there counts only if this user made it.
    var status = stat()
    let temporary = temporary(userID)
    if lstat(temporary, &status) == 0, status.st_uid == userID, status.st_mode & S_IFMT == S_IFDIR {
      folders.append(SocketFolder(folder: temporary))
    }
    return folders + [.system]
  }

  /// The first folder with a sign of a pool: a socket that answers, or one that this user may not use.
  /// - Parameter connect: tries a socket and says with which errno it failed, 0 for success.
  static func choose(among candidates: [SocketFolder], connect: (String) -> Int32) -> SocketFolder {
    candidates.first { folder in
      Daemon.allCases.contains { ![ENOENT, ECONNREFUSED, ENOTDIR].contains(connect(folder[$0])) }
    } ?? .system
  }

  /// Connects to a Unix socket and lets it go again.
  /// - Returns: errno, or 0.
  static func attempt(_ path: String) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return ENAMETOOLONG }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return errno }
    defer { close(descriptor) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    return result == 0 ? 0 : errno
  }
}
