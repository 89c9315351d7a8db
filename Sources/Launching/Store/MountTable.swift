import Glibc
import PoolCore
import Systemd

/// What is mounted on this machine, and what should be.
package struct MountTable: Equatable, Sendable {
  struct Mount: Equatable {
    var point: String
    /// Such as "ext4" and "nfs4".
    var type: String
    var isReadOnly: Bool
    /// The file system, by the number of its device, and the folder of it that is seen there.
    var device = ""
    var root = "/"
  }

  struct Files {
    /// As the machine's first process sees them: in this one's sandbox folders are mounted on themselves, read only.
    var mounted = "/proc/1/mountinfo"
    var mountedHere = "/proc/self/mountinfo"
    var planned = "/etc/fstab"
    var units = ["/etc/systemd/system", "/run/systemd/system"]
  }

  /// The machine's. The last of a place is the one that is seen.
  var mounts: [Mount]
  /// This process's.
  var here: [Mount] = []
  /// Where something is to be mounted, and the file that says so.
  var planned: [String: String]

  package static func read() -> MountTable { read(Files()) }

  static func read(_ files: Files) -> MountTable {
    func mounts(_ file: String) -> [Mount]? {
      SmallFile.text(file, limit: 1 << 20).map { $0.split(separator: "\n").compactMap(mount) }
    }
    let here = mounts(files.mountedHere) ?? []
    var planned: [String: String] = [:]
    for line in (SmallFile.text(files.planned) ?? "").split(separator: "\n") {
      let fields = line.split(whereSeparator: \.isWhitespace)
      guard fields.count >= 2, !fields[0].hasPrefix("#"), fields[1].hasPrefix("/") else { continue }
      planned[Self.unescaped(fields[1]).withoutSlashAtEnd] = files.planned
    }
    for folder in files.units {
      for name in FolderList.names(in: folder) {
        guard let path = MountUnit.path(ofUnit: name) else { continue }
        var status = stat()
        // One that is masked is a link to /dev/null.
        guard stat("\(folder)/\(name)", &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
        planned[path] = planned[path] ?? "\(folder)/\(name)"
      }
    }
    return MountTable(mounts: mounts(files.mounted) ?? here, here: here, planned: planned)
  }

  /// Of "36 35 98:0 /root /point rw,noatime optional… - ext4 /dev/root rw": proc_pid_mountinfo(5).
  private static func mount(_ line: Substring) -> Mount? {
    let fields = line.split(separator: " ")
    guard fields.count > 6, let dash = fields.dropFirst(6).firstIndex(of: "-"), dash + 3 < fields.count else {
      return nil
    }
    let options = fields[5].split(separator: ",") + fields[dash + 3].split(separator: ",")
    return Mount(
      point: unescaped(fields[4]), type: String(fields[dash + 1]), isReadOnly: options.contains("ro"),
      device: String(fields[2]), root: unescaped(fields[3]))
  }

  /// A blank is "\040" in both files.
  private static func unescaped(_ text: Substring) -> String {
    var rest = Array(text.utf8)[...]
    var bytes: [UInt8] = []
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The mount that a path, without links in it, is on.
  func mount(of path: String) -> Mount? { Self.mount(of: path, in: mounts) }

  /// Whether this process's sandbox shows something else at a path, without links in it, than the machine has there: a
  /// /tmp of its own, an empty /home.
  func hides(_ path: String) -> Bool { Self.place(of: path, in: here) != Self.place(of: path, in: mounts) }

  private static func mount(of path: String, in mounts: [Mount]) -> Mount? {
    var best: Mount?
    for mount in mounts where path.isBelow(mount.point) {
      if mount.point.utf8.count >= best?.point.utf8.count ?? 0 { best = mount }
    }
    return best
  }

  /// The file system that a path is on, and where in it.
  private static func place(of path: String, in mounts: [Mount]) -> [String] {
    guard let mount = mount(of: path, in: mounts) else { return [] }
    let rest = path.dropFirst(mount.point == "/" ? 0 : mount.point.count)
    return [mount.device] + (mount.root + rest).split(separator: "/").map(String.init)
  }

  /// What should be mounted for one of these paths and is not, the outermost first. What is there instead is an empty
  /// folder, in which nobody's models are, and which models must not be pulled into.
  func missing(for paths: [String]) -> MissingMount? {
    let mounted = Set(mounts.map(\.point))
    let missing = planned.filter { point, _ in
      point != "/" && !mounted.contains(point) && paths.contains { $0.isBelow(point) }
    }
    return missing.min { $0.key < $1.key }.map { MissingMount(point: $0.key, namedBy: $0.value) }
  }
}

/// A mount that a path needs and that is not there.
struct MissingMount: Equatable {
  var point: String
  /// The file that says that there should be one.
  var namedBy: String

  var unit: String { MountUnit.name(at: point) }
  var problem: String { "\(point), which \(namedBy) names, is not mounted" }
  var remedy: String { "mount it (`systemctl start '\(unit)'` tells what is wrong), or set the key models_path" }
}

extension LaunchError {
  init(of id: InstanceID, missing mount: MissingMount) {
    self.init(.missingMount, "\(id) did not start: its models are below \(mount.problem): \(mount.remedy)")
  }
}

extension InstanceSpecification {
  /// - Parameter home: that of the user that it runs as.
  ///
  /// Follows links, on whatever server: see ``Patience/files``.
  func missingMount(home: String, in table: MountTable = .read()) -> MissingMount? {
    let store = storePath(home: home)
    return table.missing(for: [store] + [store].compactMap(RealPath.of))
  }

  func checkMounts(home: String) async throws(LaunchError) {
    guard let mount = await Patience.files.answer(about: storePath(home: home), of: { missingMount(home: home) }) else {
      throw isSilent(home: home)
    }
    if let mount { throw LaunchError(of: id, missing: mount) }
  }

  /// Of files that have not answered in time.
  func isSilent(home: String) -> LaunchError {
    LaunchError(
      .timedOut,
      "\(id) did not start: where its models are, \(storePath(home: home)), and its home do not answer: look after the "
        + "file server that they are on")
  }
}

extension String {
  /// Whether a path is this folder, or in it.
  func isBelow(_ folder: String) -> Bool { folder == "/" || self == folder || hasPrefix(folder + "/") }

  fileprivate var withoutSlashAtEnd: String {
    var path = self[...]
    while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
    return String(path)
  }
}
