import CLinux
import Foundation
import Glibc
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Launching
@testable import Systemd

@Suite struct ModelStoreTests {
  private static let daemon = User(named: "daemon") ?? User.own
  private static let nobody = User(named: "nobody") ?? User.own
  /// Where people's homes are on any machine.
  private static let homes = "/home"
  private static let homeOfRoot = "/root"
  private static let nothingMounted = MountTable(mounts: [], planned: [:])

  private func resolve(
    setting: String? = nil, user: User = User.own, home: String, environment: [String: String] = [:],
    service: OllamaService? = nil, mounts: MountTable = nothingMounted
  ) -> ModelStore {
    ModelStore.resolve(
      setting: setting, user: user, home: home, environment: environment, service: service, mounts: mounts)
  }

  // MARK: Where

  @Test func `the configuration wins, then OLLAMA_MODELS, then an installed Ollama, then the user's home`() throws {
    let folder = try TemporaryDirectory()
    for name in ["configured", "variable", "service", "home/.ollama/models"] {
      try FileManager.default.createDirectory(atPath: folder.path(to: name), withIntermediateDirectories: true)
    }
    let home = folder.path(to: "home")
    let service = OllamaService(user: "ollama", modelsPath: folder.path(to: "service"))
    let environment = ["OLLAMA_MODELS": folder.path(to: "variable")]
    var found = resolve(
      setting: folder.path(to: "configured"), home: home, environment: environment, service: service)
    #expect(found.path == folder.path(to: "configured") && found.source == .configured)
    found = resolve(home: home, environment: environment, service: service)
    #expect(found.path == folder.path(to: "variable") && found.source == .environment)
    #expect(found.variable == found.path && found.isOwned && found.isReadable)
    found = resolve(home: home, environment: ["OLLAMA_MODELS": "relative"], service: service)
    #expect(found.path == folder.path(to: "service") && found.source == .service && found.passedOver == nil)
    found = resolve(home: home)
    #expect(found.path == "\(home)/.ollama/models" && found.source == .home)
    #expect(found.variable == nil, "Ollama looks there by itself")
    #expect(found.description.hasSuffix("(by the home of the instances' user), owned by \(User.current), rwxr-xr-x"))
  }

  @Test func `a store that an ollama.service works in is not the pool's to change while that runs`() throws {
    let folder = try TemporaryDirectory()
    for name in ["models", "others"] { try #require(mkdir(folder.path(to: name), 0o755) == 0) }
    try #require(symlink(folder.path(to: "models"), folder.path(to: "link")) == 0)
    var service = OllamaService(user: "ollama", modelsPath: folder.path(to: "models"))
    #expect(resolve(home: "/x", service: service).isOwned)
    service.isActive = true
    let links = [nil, folder.path(to: "models"), folder.path(to: "link")]
    for setting in links {
      let store = resolve(setting: setting, home: "/x", service: service)
      // Whose it is has not changed, so that no instance is another one for it.
      #expect(store.isReadable && store.isOwned && store.isUsedBesides)
      #expect(store.refusal?.problem.contains("ollama.service runs on the model store") == true)
      #expect(store.refusal?.remedy.contains("`systemctl disable --now ollama.service`") == true)
    }
    let other = resolve(setting: folder.path(to: "others"), home: "/x", service: service)
    #expect(other.isOwned && !other.isUsedBesides && other.refusal == nil)
  }

  @Test func `what is configured is there, or it is said that it is not; the usual place is made at the start`() throws
  {
    let folder = try TemporaryDirectory()
    let usual = resolve(home: folder.path)
    #expect(!usual.exists && usual.isOwned && usual.isReadable && usual.owner == nil)
    let named = resolve(setting: folder.path(to: "a/b"), home: folder.path)
    #expect(!named.exists && !named.isOwned && !named.isReadable)
    let refusal = try #require(named.refusal)
    #expect(refusal.problem.contains("\(folder.path)/a/b is not there: there is no \(folder.path)/a"))
    #expect(refusal.remedy.contains("install -d -o \(User.current) \(folder.path)/a/b"))
    try folder.write("", to: "file")
    let file = resolve(setting: folder.path(to: "file/models"), home: folder.path)
    #expect(file.refusal?.problem.contains("no folder") == true || file.refusal != nil)
    #expect(
      resolve(setting: folder.path(to: "file"), home: folder.path).refusal?.problem.contains("is no folder") == true)
  }

  @Test func `what an installed Ollama says of its models is what its variables, else its user's home say`() {
    func service(_ environment: [String], user: String?) -> OllamaService? {
      OllamaService(
        UnitStatus(
          name: "ollama.service",
          properties: ["Environment": .strings(environment), "User": .string(user ?? "")]))
    }
    #expect(service(["A=b", "OLLAMA_MODELS=/srv/m"], user: "daemon")?.modelsPath == "/srv/m")
    #expect(service([], user: "daemon") == OllamaService(user: "daemon", modelsPath: "/usr/sbin/.ollama/models"))
    #expect(service(["HOME=/x"], user: "daemon")?.modelsPath == "/x/.ollama/models")
    #expect(service([], user: nil) == OllamaService(user: "root", modelsPath: Self.homeOfRoot + "/.ollama/models"))
    #expect(service([], user: "no-such-user") == nil)
    #expect(service(["OLLAMA_MODELS=/srv/m"], user: "no-such-user")?.user == "no-such-user")
    #expect(service(["OLLAMA_MODELS=m"], user: "daemon") == nil)
  }

  // MARK: Whose

  /// A store of `daemon`'s in a folder that all may pass through.
  private func withStore(mode: Int, _ body: (TemporaryDirectory, String) async throws -> Void) async throws {
    let folder = try TemporaryDirectory()
    chmod(folder.path, 0o755)
    let store = folder.path(to: "models")
    try #require(mkdir(store, 0o755) == 0)
    try #require(chown(store, Self.daemon.userID, Self.daemon.groupID) == 0 && chmod(store, mode_t(mode)) == 0)
    try await body(folder, store)
  }

  @Test(.enabled(if: geteuid() == 0, "gives files to other users: needs root"))
  func `a store is the pool's where the instances' user may write to it, whoever owns it`() async throws {
    try await withStore(mode: 0o755) { folder, store in
      let own = resolve(setting: store, user: Self.daemon, home: folder.path)
      #expect(own.isOwned && own.owner == "daemon" && own.mode == 0o755)
      let other = resolve(setting: store, user: Self.nobody, home: folder.path)
      #expect(!other.isOwned && other.isReadable)
      let refusal = try #require(other.refusal)
      #expect(refusal.problem.contains("\(store) (owned by daemon, rwxr-xr-x) is not the pool's: nobody"))
      for remedy in ["instance_user", "models_path", "chown -R nobody \(store)"] {
        #expect(refusal.remedy.contains(remedy), "\(refusal.remedy)")
      }
    }
    try await withStore(mode: 0o770) { folder, store in
      var member = Self.nobody
      #expect(!resolve(setting: store, user: member, home: folder.path).isReadable)
      member = User(name: "member", userID: 54_321, groupID: Self.daemon.groupID, home: "/")
      #expect(resolve(setting: store, user: member, home: folder.path).isOwned)
      // What root once pulled into it.
      try #require(mkdir(store + "/blobs", 0o755) == 0)
      let mixed = resolve(setting: store, user: Self.daemon, home: folder.path)
      #expect(!mixed.isOwned && mixed.isReadable)
      #expect(
        mixed.refusal?.problem.contains("\(store), by \(store)/blobs (owned by root, rwxr-xr-x), is not the pool's")
          == true)
      #expect(chmod(folder.path, 0o700) == 0)
      let closed = resolve(setting: store, user: Self.daemon, home: folder.path)
      #expect(!closed.isOwned && !closed.isReadable)
      #expect(
        closed.refusal?.problem.contains("\(store), by \(folder.path) (owned by root, rwx------), is not") == true,
        "\(closed)")
    }
  }

  @Test(.enabled(if: geteuid() == 0, "gives files to other users: needs root"))
  func `an installed Ollama's store that the user can't read is passed over, and that is said`() async throws {
    try await withStore(mode: 0o750) { folder, store in
      let service = OllamaService(user: "daemon", modelsPath: store)
      let found = resolve(user: Self.nobody, home: "/nonexistent", service: service)
      #expect(found.source == .home)
      #expect(
        found.passedOver?.contains("can't be read by nobody; to use its models set the key instance_user to daemon")
          == true)
      #expect(resolve(user: Self.daemon, home: "/nonexistent", service: service).source == .service)
      let gone = OllamaService(user: "daemon", modelsPath: store + "/none")
      #expect(
        resolve(user: Self.daemon, home: "/nonexistent", service: gone).passedOver?.contains("is not there") == true)
      // Nothing was pulled yet, and it would be here.
      let same = OllamaService(user: "daemon", modelsPath: store + "/.ollama/models")
      let new = resolve(user: Self.daemon, home: store, service: same)
      #expect(new.source == .service && new.passedOver == nil && new.variable == nil && new.isOwned)
    }
  }

  @Test(.enabled(if: geteuid() == 0, "gives files to other users: needs root"))
  func `modes and lists of rights are read as the kernel reads them`() async throws {
    let user = User(name: "member", userID: 54_321, groupID: 54_322, home: "/")
    try await withStore(mode: 0o700) { _, store in
      // As the kernel stores them: u::rwx, u:54321:rwx, g::---, m::…, o::---.
      func list(_ entries: [(tag: UInt8, rights: UInt8, id: UInt32)]) -> [UInt8] {
        [2, 0, 0, 0]
          + entries.flatMap { entry in
            [entry.tag, 0, entry.rights, 0] + (0..<4).map { UInt8(truncatingIfNeeded: entry.id >> (8 * $0)) }
          }
      }
      let none = UInt32.max
      for (mask, named, expected) in [
        (UInt8(7), UInt8(7), FolderAccess.writable), (7, 5, .readable), (5, 7, .readable), (1, 7, .closed(at: store)),
      ] {
        let bytes = list([(1, 7, none), (2, named, 54_321), (4, 0, none), (16, mask, none), (32, 0, none)])
        let list = try #require(AccessList(bytes))
        let rights = list.rights(54_321, [], owningGroup: 1)
        #expect(rights == Int(mask & named))
        #expect(list.rights(54_320, [], owningGroup: 1) == 0)
        // Where the file system under /tmp keeps such lists, it says the same itself.
        let set = try await run(
          "python3",
          [
            "-c", "import os, sys; os.setxattr(sys.argv[1], 'system.posix_acl_access', bytes.fromhex(sys.argv[2]))",
            store,
            bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(),
          ])
        guard set.end == .exited(0) else { continue }
        #expect(FolderAccess(of: store, for: user) == expected)
      }
    }
    let groups = try #require(
      AccessList(
        [2, 0, 0, 0] + [4, 0, 5, 0, 255, 255, 255, 255] + [8, 0, 7, 0, 9, 0, 0, 0] + [16, 0, 7, 0, 255, 255, 255, 255]
          + [32, 0, 1, 0, 255, 255, 255, 255]))
    #expect(groups.rights(1, [3], owningGroup: 3) == 5)
    #expect(groups.rights(1, [9], owningGroup: 3) == 7)
    #expect(groups.rights(1, [4], owningGroup: 3) == 1)
    for nonsense in [[], [2, 0, 0, 0, 1], [3, 0, 0, 0]] as [[UInt8]] { #expect(AccessList(nonsense) == nil) }
  }

  @Test(.enabled(if: geteuid() == 0, "becomes another user: needs root"))
  func `a pool that can't look into a folder takes what is in its user's own for the user's, and nobody else's`()
    async throws
  {
    let folder = try TemporaryDirectory()
    chmod(folder.path, 0o755)
    for name in ["daemons", "closed"] { try #require(mkdir(folder.path(to: name), 0o700) == 0) }
    try #require(chown(folder.path(to: "daemons"), Self.daemon.userID, Self.daemon.groupID) == 0)
    try #require(chown(folder.path(to: "closed"), 54_321, Self.daemon.groupID) == 0)
    chmod(folder.path(to: "closed"), 0o710)
    // As the supervisor, uid 0 without a right beyond the files' modes.
    let judged = withoutRights {
      [
        FolderAccess(of: folder.path(to: "daemons/models"), for: Self.daemon),
        FolderAccess(of: folder.path(to: "daemons/models"), for: Self.nobody),
        FolderAccess(of: folder.path(to: "closed/models"), for: Self.daemon),
      ]
    }
    let error = String(cString: strerror(EACCES))
    #expect(
      judged == [
        .unseen(beyond: folder.path(to: "daemons"), isUsers: true, error: error),
        .closed(at: folder.path(to: "daemons")),
        .unseen(beyond: folder.path(to: "closed"), isUsers: false, error: error),
      ])
    let store = withoutRights {
      [
        resolve(setting: folder.path(to: "daemons/models"), user: Self.daemon, home: "/"),
        resolve(setting: folder.path(to: "closed/models"), user: Self.daemon, home: "/"),
      ]
    }
    #expect(store[0].isOwned && store[0].isReadable)
    #expect(!store[1].isOwned && store[1].isReadable)
    #expect(store[1].refusal?.problem.contains("is not known: the pool can't look into") == true)
  }

  /// On a thread that has become `nobody` for files: one that sees what modes let all see.
  private func withoutRights<Value>(_ body: () -> Value) -> Value {
    let (group, user) = (clinux_setfsgid(65_534), clinux_setfsuid(65_534))
    defer {
      _ = clinux_setfsuid(user)
      _ = clinux_setfsgid(group)
    }
    return body()
  }

  // MARK: Mounts

  @Test func `a store on a mount that is missing, or read only, is nobody's to change`() throws {
    let folder = try TemporaryDirectory()
    let store = folder.path(to: "my models")
    try #require(mkdir(store, 0o755) == 0)
    let missing = MountTable(mounts: [], planned: [folder.path: "/etc/fstab"])
    var found = resolve(setting: store, home: "/", mounts: missing)
    #expect(found.isUnmounted && !found.isReadable)
    #expect(found.refusal?.problem.contains("\(folder.path), which /etc/fstab names, is not mounted") == true)
    #expect(found.refusal?.remedy.contains(MountUnit.name(at: folder.path)) == true)
    // Through a link, too.
    let link = folder.path(to: "link")
    let elsewhere = try TemporaryDirectory()
    try #require(symlink(elsewhere.path, link) == 0)
    let behind = MountTable(mounts: [], planned: [elsewhere.path: "/etc/fstab"])
    #expect(!resolve(setting: link, home: "/", mounts: behind).isReadable)
    #expect(resolve(setting: store, home: "/", mounts: behind).isReadable)

    func table(_ options: String, _ more: String = "rw") throws -> MountTable {
      let escaped = store.replacing(" ", with: "\\040")
      let text = """
        22 1 0:20 / / rw - ext4 /dev/a rw
        23 22 0:21 / \(escaped) \(options) shared:1 master:2 - nfs4 server:/x \(more)
        24 22 0:21 / \(escaped)x ro - nfs4 server:/x ro
        nonsense
        1 2 3 4 5 6 - 7
        """
      return MountTable.read(
        .init(
          mounted: "/nonexistent", mountedHere: try folder.write(text, to: "mountinfo"), planned: "/nonexistent",
          units: []))
    }
    found = resolve(setting: store, home: "/", mounts: try table("rw,relatime"))
    #expect(found.isOwned)
    for readOnly in [try table("ro,relatime"), try table("rw", "ro,vers=4.2")] {
      found = resolve(setting: store, home: "/", mounts: readOnly)
      #expect(!found.isOwned && found.isReadable)
      #expect(found.refusal?.problem.contains("is on \(store), which is mounted read only") == true)
    }
    #expect(try table("rw").mount(of: store)?.type == "nfs4")
    #expect(try table("rw").mount(of: store + "/a/b")?.point == store)
    #expect(try table("rw").mount(of: store + "y")?.point == "/")
    #expect(try table("rw").mounts.count == 3)
  }

  @Test func `what only the pool's sandbox hides is not taken for missing`() throws {
    let folder = try TemporaryDirectory()
    func table(_ here: String) throws -> MountTable {
      let machine = "22 1 0:20 / / rw - ext4 a rw\n23 22 0:21 /vol /data rw - ext4 b rw\n"
      return MountTable.read(
        .init(
          mounted: try folder.write(machine, to: "machine"), mountedHere: try folder.write(here, to: "here"),
          planned: "/nonexistent", units: []))
    }
    // As ProtectSystem=strict, ProtectHome=read-only and PrivateTmp=yes make it.
    let sandbox = try table(
      """
      40 1 0:20 / / ro - ext4 a rw
      41 40 0:20 /home /home ro - ext4 a rw
      42 40 0:20 /tmp/systemd-private-1/tmp /tmp rw - ext4 a rw
      43 40 0:21 /vol /data ro - ext4 b rw
      44 40 0:99 / /root rw - tmpfs c rw
      """)
    for path in ["/", Self.homes + "/eva/models", "/data", "/data/models", "/srv/models", "/var/tmp/x"] {
      #expect(!sandbox.hides(path), "\(path)")
    }
    for path in ["/tmp", "/tmp/models", Self.homeOfRoot + "/models"] { #expect(sandbox.hides(path), "\(path)") }
    let hidden = resolve(setting: "/tmp/no-such-models", home: "/", mounts: sandbox)
    #expect(hidden.isOwned && hidden.isReadable && hidden.owner == nil)
    #expect(!resolve(setting: "/srv/no-such-models", home: "/", mounts: sandbox).isOwned)
    #expect(!MountTable.read().hides(folder.path))
  }

  @Test func `an installed Ollama's store that is not mounted is waited for, and none taken instead`() throws {
    let folder = try TemporaryDirectory()
    let service = OllamaService(user: "ollama", modelsPath: folder.path(to: "models"))
    let missing = MountTable(mounts: [], planned: [folder.path: "/etc/fstab"])
    let store = resolve(home: Self.homes + "/eva", service: service, mounts: missing)
    #expect(store.source == .service && store.isUnmounted && !store.isReadable && store.refusal != nil)
  }

  @Test func `what should be mounted is in fstab and in units, and counts where it is not`() throws {
    let folder = try TemporaryDirectory()
    try folder.write(
      "# comment /a /b\n\nUUID=1 / ext4\nUUID=2 /srv/my\\040data/ ext4 noauto\nserver:/x /mnt/nfs nfs\nUUID=3 none swap\n",
      to: "fstab")
    try folder.write("34 1 8:1 / / rw - ext4 a rw\n35 34 8:2 / /mnt/nfs rw - nfs4 a rw\n", to: "mountinfo")
    try #require(mkdir(folder.path(to: "units"), 0o755) == 0)
    try folder.write("[Mount]\n", to: "units/opt-my\\x2dmodels.mount")
    try folder.write("[Mount]\n", to: "units/opt.service")
    try #require(symlink("/dev/null", folder.path(to: "units/masked.mount")) == 0)
    let table = MountTable.read(
      .init(
        mounted: folder.path(to: "mountinfo"), mountedHere: "/nonexistent", planned: folder.path(to: "fstab"),
        units: [folder.path(to: "none"), folder.path(to: "units")]))
    #expect(table.planned.keys.sorted() == ["/", "/mnt/nfs", "/opt/my-models", "/srv/my data"])
    #expect(table.missing(for: ["/srv/my data/models", "/opt/my-models"])?.point == "/opt/my-models")
    #expect(table.missing(for: ["/srv/my data"])?.namedBy == folder.path(to: "fstab"))
    #expect(table.missing(for: ["/srv/my datas", "/mnt/nfs/x", "/masked/x", "/opt"]) == nil)
    #expect(MountTable.read().mounts.contains { $0.point == "/" })
  }

  @Test func `an instance whose models are on a missing mount does not start in an empty folder`() async throws {
    let mount = MissingMount(point: "/srv/models", namedBy: "/etc/fstab")
    let error = LaunchError(of: "gpu0", missing: mount)
    #expect(error.code == .missingMount)
    for words in ["gpu0", "/srv/models, which /etc/fstab names, is not mounted", "'srv-models.mount'", "models_path"] {
      #expect(error.message.contains(words), "\(error)")
    }
    let table = MountTable(mounts: [], planned: ["/srv": "/etc/fstab"])
    #expect(InstanceSpecification.example { $0.modelsPath = "/srv/x" }.missingMount(home: "/h", in: table) != nil)
    #expect(InstanceSpecification.example { $0.modelsPath = "/x" }.missingMount(home: "/srv", in: table) == nil)
    #expect(InstanceSpecification.example().missingMount(home: "/srv/home", in: table) != nil)
    #expect(
      InstanceSpecification.example { $0.environment = ["HOME": "/x"] }.missingMount(home: "/srv", in: table) == nil)
  }

  // MARK: What instances are started with

  @Test func `in a store of others nobody tidies up, whatever is configured, and it is read only`() {
    func store(isOwned: Bool) -> ModelStore {
      var store = resolve(setting: "/", home: "/")
      (store.path, store.variable) = ("/srv/models", "/srv/models")
      store.refusal = isOwned ? nil : .init(problem: "p", remedy: "r")
      return store
    }
    let others = InstanceSpecification.example(prunesStore: true, store: store(isOwned: false)) {
      $0.environment = ["OLLAMA_NOPRUNE": "0"]
    }
    #expect(others.variables["OLLAMA_NOPRUNE"] == "1" && others.variables["OLLAMA_MODELS"] == "/srv/models")
    let own = InstanceSpecification.example(prunesStore: true, store: store(isOwned: true))
    #expect(own.variables["OLLAMA_NOPRUNE"] == nil)
    #expect(own.digest == InstanceSpecification.example { $0.modelsPath = "/srv/models" }.digest)
    #expect(own.digest != InstanceSpecification.example(store: store(isOwned: false)).digest)
    func paths(_ specification: InstanceSpecification, _ name: String) -> [String]? {
      InstanceUnit.properties(
        of: specification, port: 11500, owner: owner,
        as: InstanceAccount(
          name: "ollama", userID: 901, home: "/usr/share/ollama", homeIsStateDirectory: false, groups: [])
      ).first { $0.name == name }?.value.texts
    }
    #expect(paths(own, "ReadWritePaths") == ["/srv/models", "/usr/share/ollama"])
    #expect(paths(own, "ReadOnlyPaths") == nil)
    #expect(paths(others, "ReadWritePaths") == ["/usr/share/ollama"])
    #expect(paths(others, "ReadOnlyPaths") == ["-/srv/models"])
    #expect(paths(own, "RequiresMountsFor") == ["/srv/models", "/usr/share/ollama"])
    var inHome = InstanceSpecification.example()
    inHome.ownsStore = false
    #expect(paths(inHome, "ReadOnlyPaths") == ["-/usr/share/ollama/.ollama/models"])
    #expect(paths(inHome, "RequiresMountsFor") == ["/usr/share/ollama", "/usr/share/ollama/.ollama/models"])
  }
}
