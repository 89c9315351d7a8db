import Glibc

/// The program that instances run.
package struct OllamaExecutable: Sendable, Equatable {
  package enum Kind: String, Sendable {
    case ollama
    /// The stand-in, which makes its answers up.
    case simulator
  }

  /// Tells one build from another at the same path, so that an upgrade is noticed.
  package struct Identity: Sendable, Equatable {
    /// Bytes.
    package var size: Int
    /// Nanoseconds since 1970.
    package var modified: Int
    package var inode: UInt64

    package init(size: Int, modified: Int, inode: UInt64) {
      self.size = size
      self.modified = modified
      self.inode = inode
    }
  }

  package var path: String
  package var kind: Kind
  package var identity: Identity

  package init(path: String, kind: Kind, identity: Identity) {
    self.path = path
    self.kind = kind
    self.identity = identity
  }

  package static let usualFolders = ["/usr/local/bin", "/usr/bin", "/opt/ollama/bin"]
  private static let simulatorName = "ollama-simulator"

  /// Finds the program: the configured one; else `ollama` in PATH and then in the usual folders; else, where that may
  /// stand in for it, the `ollama-simulator` beside the pool's own executable.
  /// - Parameters:
  ///   - setting: the key `ollama`, an absolute path.
  ///   - path: the variable PATH.
  ///   - ownFolder: where the simulator may be; nil for where this process's executable is.
  package static func find(
    setting: String?, _ standIns: StandIns, path: String? = getenv("PATH").map { String(cString: $0) },
    usualFolders: [String] = usualFolders, ownFolder: String? = nil
  ) throws(LaunchError) -> OllamaExecutable {
    if let setting { return try configured(setting) }
    let inPath = (path ?? "").split(separator: ":").map(String.init).filter { $0.hasPrefix("/") }
    let folders = inPath + usualFolders.filter { !inPath.contains($0) }
    for folder in folders {
      if let found = program(at: "\(folder)/ollama") { return found }
    }
    if standIns == .allowed, let folder = ownFolder ?? folderOfThisProcess,
      let found = program(at: "\(folder)/\(simulatorName)")
    {
      return found
    }
    throw LaunchError(
      .missingExecutable,
      "no ollama in \(folders.joined(separator: ":")): install it (https://ollama.com/download), "
        + "or set the key ollama to where it is")
  }

  /// The same of a program that may be on a file server, and whose folder may never answer.
  package static func look(setting: String?, _ standIns: StandIns) async -> Result<OllamaExecutable, LaunchError> {
    let found = await Patience.files.answer(about: "program \(setting ?? "")") { () -> Result<Self, LaunchError> in
      do throws(LaunchError) { return .success(try find(setting: setting, standIns)) } catch { return .failure(error) }
    }
    let place = setting ?? "the folders of PATH"
    return found
      ?? .failure(
        LaunchError(.timedOut, "ollama: \(place) does not answer: look after the file server that it is on"))
  }

  private static func configured(_ setting: String) throws(LaunchError) -> OllamaExecutable {
    if let found = program(at: setting) { return found }
    throw LaunchError(
      .missingExecutable,
      "ollama: \(setting) \(access(setting, F_OK) == 0 ? "is not an executable file" : "does not exist"); "
        + "correct the key ollama, or remove it to have PATH searched")
  }

  private static func program(at path: String) -> OllamaExecutable? {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, access(path, X_OK) == 0 else { return nil }
    // An `ollama` that is a link to the stand-in is the stand-in.
    let target = RealPath.of(path) ?? path
    return OllamaExecutable(
      path: path, kind: target.hasSuffix("/\(simulatorName)") ? .simulator : .ollama,
      identity: Identity(
        size: Int(status.st_size), modified: status.st_mtim.tv_sec * 1_000_000_000 + status.st_mtim.tv_nsec,
        inode: UInt64(status.st_ino)))
  }

  private static var folderOfThisProcess: String? {
    guard let own = RealPath.of("/proc/self/exe"), let slash = own.lastIndex(of: "/") else { return nil }
    return String(own[..<slash])
  }
}
