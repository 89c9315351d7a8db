package import Glibc

/// The folder with the models that all instances share.
package struct ModelStore: Equatable, Sendable {
  /// Who said that it is there.
  package enum Source: String, Sendable {
    case configured = "models_path"
    case environment = "OLLAMA_MODELS"
    case service = "ollama.service"
    /// The usual place below the home of the instances' user.
    case home = "the home of the instances' user"
  }

  /// As it was given.
  package var path: String
  package var source: Source
  /// OLLAMA_MODELS for instances; nil where Ollama takes this path by itself.
  package var variable: String?
  /// The folder's owner; nil where that can't be seen.
  package var ownerID: uid_t?
  package var groupID: gid_t?
  /// Its permissions, without the file's type; nil where they can't be seen.
  package var mode: mode_t?
  /// The type of the file system that it is on, such as "ext4" and "nfs4"; nil where that is not known.
  package var fileSystem: String?
  /// Whether it is there. One in the ``Source/home`` is made at the first start.
  package var exists: Bool
  /// Whether instances can use what is in it.
  package var isReadable: Bool
  /// Whether it is on something that should be mounted and is not. No instance starts before it is: what is there
  /// instead is an empty folder.
  package var isUnmounted = false
  /// Whether it is the pool's to change: the instances' user may write to it. Nothing is pulled into another's, and
  /// nothing is tidied up in it. One that is not mounted stays what it was, see ``remembering(_:)``, and one that never
  /// was mounted is taken for the pool's: systemd mounts it for the first instance that starts, which else could never
  /// write to it.
  package var isOwned: Bool { refusal == nil || isUsedBesides || isUnmounted && wasOwned ?? true }
  /// Whether it was the pool's when it was mounted last; nil where that was not seen.
  private var wasOwned: Bool?
  /// False for one that is not mounted and was not seen mounted.
  package var isOwnerKnown: Bool { !isUnmounted || wasOwned != nil }
  /// Whether the installed `ollama.service` runs on it as well, so that nothing may change it through the pool for the
  /// time. Not a matter of whose it is: that would have all instances replaced whenever that service starts or stops.
  package private(set) var isUsedBesides = false
  /// Why nothing may be changed in it through the pool, and what helps.
  package var refusal: Refusal?
  /// A store that was looked for first, and why it is not this one.
  package var passedOver: String?

  package struct Refusal: Equatable, Sendable, CustomStringConvertible {
    package var problem: String
    package var remedy: String

    package var description: String { "\(problem): \(remedy)" }
  }

  /// The same, which while it is not mounted stays whose it was: that says nothing of its owner.
  package func remembering(_ earlier: ModelStore?) -> ModelStore {
    var store = self
    if isUnmounted, let earlier, earlier.path == path, earlier.isOwnerKnown { store.wasOwned = earlier.isOwned }
    return store
  }

  /// The same, taken for somebody else's as long as it is not mounted.
  package var ofOthers: ModelStore {
    var store = self
    store.wasOwned = false
    return store
  }

  package static func usualPath(home: String) -> String { (home == "/" ? "" : home) + "/.ollama/models" }

  /// - Parameters:
  ///   - setting: the key `models_path`; nil: OLLAMA_MODELS of the pool's own, then the store of an installed Ollama if
  ///     the user can read it, then the usual place in `home`.
  ///   - user: the one that instances run as.
  ///   - home: HOME of the instances.
  ///   - environment: the pool's own variables.
  ///   - service: the installed `ollama.service`.
  ///   - makesFolders: whether instances can make a store that is not there, which takes that they run without a
  ///     sandbox.
  package static func resolve(
    setting: String?, user: User, home: String, environment: [String: String] = InheritedVariables.own,
    service: OllamaService?, makesFolders: Bool = false, mounts: MountTable = .read()
  ) -> ModelStore {
    find(setting, user, home, environment, service, makesFolders, mounts).beside(service)
  }

  private static func find(
    _ setting: String?, _ user: User, _ home: String, _ environment: [String: String], _ service: OllamaService?,
    _ makesFolders: Bool, _ mounts: MountTable
  ) -> ModelStore {
    let usual = usualPath(home: home)
    func store(_ path: String, _ source: Source) -> ModelStore {
      ModelStore(path, source, isUsual: path == usual, user: user, makesFolders: makesFolders, mounts: mounts)
    }
    if let setting {
      var configured = store(setting, .configured)
      configured.variable = setting
      return configured
    }
    if let path = environment["OLLAMA_MODELS"], path.hasPrefix("/") { return store(path, .environment) }
    guard let service else { return store(usual, .home) }
    let installed = store(service.modelsPath, .service)
    if installed.isUnmounted || installed.isReadable && (installed.exists || service.modelsPath == usual) {
      return installed
    }
    var own = store(usual, .home)
    own.passedOver =
      installed.exists
      ? "that of \(OllamaService.unit), \(service.modelsPath), can't be read by \(user.name); to use its models set the "
        + "key instance_user to \(service.user)"
      : "that of \(OllamaService.unit), \(service.modelsPath), is not there"
    return own
  }

  private init(
    _ path: String, _ source: Source, isUsual: Bool, user: User, makesFolders: Bool, mounts: MountTable
  ) {
    let resolved = RealPath.of(path)
    self.path = path
    self.source = source
    variable = isUsual ? nil : path
    exists = true
    isReadable = true
    var status = stat()
    if stat(path, &status) == 0 {
      ownerID = status.st_uid
      groupID = status.st_gid
      mode = status.st_mode & 0o7777
    }
    if let missing = mounts.missing(for: [path] + [resolved].compactMap { $0 }) {
      (isReadable, isUnmounted) = (false, true)
      refusal = Refusal(problem: "the model store \(path) is below \(missing.problem)", remedy: missing.remedy)
      return
    }
    let mount = mounts.mount(of: resolved ?? path)
    fileSystem = mount?.type
    // What only this process doesn't see is the instances' to judge.
    if mounts.hides(resolved ?? path) { return }
    var access = FolderAccess(of: path, for: user)
    var place = path
    // What others have put into a folder that is the user's, by running Ollama as root once, is in the way of a pull.
    for inner in ["blobs", "manifests"].map({ "\(path)/\($0)" }) where access == .writable {
      switch FolderAccess(of: inner, for: user) {
      case .readable: (access, place) = (.readable, inner)
      case .closed: (access, place) = (.closed(at: inner), inner)
      default: break
      }
    }
    if case .missing = access { exists = false }
    let judge = StoreJudge(path: path, isUsual: isUsual, user: user, makesFolders: makesFolders, mount: mount)
    (isReadable, refusal) = judge.judge(access, at: place)
    if isReadable, exists, let mount, mount.isReadOnly {
      refusal = Refusal(
        problem: "the model store \(path) is on \(mount.point), which is mounted read only",
        remedy: "`mount -o remount,rw \(mount.point)`, or set the key models_path to a folder of the pool's own")
    }
  }

  /// A server that runs there tidies up what others pull, and two would change one store.
  private func beside(_ service: OllamaService?) -> ModelStore {
    guard let service, service.isActive, refusal == nil,
      service.modelsPath == path || RealPath.of(path).map({ $0 == RealPath.of(service.modelsPath) }) == true
    else { return self }
    var shared = self
    shared.isUsedBesides = true
    shared.refusal = Refusal(
      problem:
        "\(OllamaService.unit) runs on the model store \(path) as well, and two servers must not change one store",
      remedy:
        "`systemctl disable --now \(OllamaService.unit)`, or set the key models_path to a folder of the pool's own")
    return shared
  }

  /// The name of the folder's owner, or the number where it has none.
  package var owner: String? { ownerID.map(User.name) }

  /// For people: "/srv/models (by models_path), owned by ollama, rwxr-xr-x".
  package var description: String {
    "\(path) (by \(source.rawValue))"
      + (ownerID.flatMap { id in mode.map { ", \(FileRights.description(owner: id, mode: $0))" } } ?? "")
  }
}

/// What the rights to a store mean for the pool.
private struct StoreJudge {
  var path: String
  /// Ollama makes this one itself.
  var isUsual: Bool
  var user: User
  /// Whether instances can make it themselves, outside a sandbox.
  var makesFolders: Bool
  var mount: MountTable.Mount?

  private func isMade(at place: String) -> Bool {
    let parent = place.lastIndex(of: "/").map { String(place[..<$0]) } ?? ""
    return FolderAccess(of: parent.isEmpty ? "/" : parent, for: user) == .writable
  }

  /// - Parameter place: what the access is to: the store, or a folder in it.
  func judge(_ access: FolderAccess, at place: String) -> (isReadable: Bool, refusal: ModelStore.Refusal?) {
    switch access {
    case .writable: (true, nil)
    case .readable: (true, refusal(place, "\(user.name), which instances run as, can't write to it"))
    case .closed(let place): (false, refusal(place, "\(user.name), which instances run as, can't read it"))
    case .missing where isUsual: (true, nil)
    // Ollama makes it. In a unit of the system manager nothing can be made beside what is there.
    case .missing(let place) where makesFolders && isMade(at: place): (true, nil)
    case .missing(let place):
      (
        false,
        .init(
          problem: "the model store \(path) is not there" + (place == path ? "" : ": there is no \(place)"),
          remedy: "`install -d -o \(user.name) \(path)`, or correct what names it")
      )
    case .noFolder(let place):
      (false, .init(problem: "the model store \(path) can't be used: \(place) is no folder", remedy: "move it away"))
    case .unseen(_, isUsers: true, _): (true, nil)
    case .unseen(let place, isUsers: false, let error):
      (
        true,
        .init(
          problem: "whether \(user.name), which instances run as, can write to the model store \(path) is not known: "
            + "the pool can't look into \(place) (\(error)\(squashes ? "; an NFS server may keep root out" : ""))",
          remedy: "set the key models_path to a folder of the pool's own, or instance_user to the owner of \(place)")
      )
    }
  }

  private func refusal(_ place: String, _ what: String) -> ModelStore.Refusal {
    let whose = FileRights.description(of: place).map { " (\($0))" } ?? ""
    return .init(
      problem: "the model store \(path)\(place == path ? whose : ", by \(place)\(whose),") is not the pool's: \(what)",
      remedy: "set the key instance_user to its owner, or models_path to a folder of the pool's own, or "
        + "`chown -R \(user.name) \(path)`")
  }

  private var squashes: Bool { mount?.type.hasPrefix("nfs") == true }
}
