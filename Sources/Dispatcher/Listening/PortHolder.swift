import FoundationEssentials
package import Glibc
package import Systemd

/// Who listens on a TCP port of this machine, as /proc shows it.
package struct PortHolder: Sendable, Equatable {
  package var userID: uid_t
  /// nil where /proc doesn't say: another user's process shows its descriptors to root only.
  package var processID: pid_t?
  /// The process's name.
  package var name: String?
  /// What keeps it running; nil where nothing does, or that can't be seen.
  package var owner: ControlGroupOwner?

  /// What holds the port, as a clause: `ollama (process 812, ollama.service)`; nil if nothing does.
  package static func describe(port: UInt16) -> String? { find(port: port)?.description }

  /// Looks in IPv4 and IPv6, at all addresses.
  package static func find(port: UInt16) -> PortHolder? {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map { ProcFile.text($0) ?? "" }
    let sockets = tables.flatMap { ListeningSocketRow.parse($0) }.filter { $0.port == port }
    guard let first = sockets.first else { return nil }
    let links = Set(sockets.map { "socket:[\($0.inode)]" })
    guard let process = processes().first(where: { holds(links, process: $0) }) else {
      return PortHolder(userID: first.userID)
    }
    return PortHolder(
      userID: first.userID, processID: process,
      name: ProcFile.text("/proc/\(process)/comm").map { String($0.prefix { $0 != "\n" }) },
      owner: ProcFile.text("/proc/\(process)/cgroup").flatMap(ControlGroupOwner.init(controlGroups:)))
  }

  private static func processes() -> [pid_t] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { pid_t($0) }.sorted()
  }

  private static func holds(_ links: Set<String>, process: pid_t) -> Bool {
    let folder = "/proc/\(process)/fd"
    let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return descriptors.contains { ProcFile.link("\(folder)/\($0)").map(links.contains) ?? false }
  }
}

extension PortHolder: CustomStringConvertible {
  package var description: String {
    guard let processID else { return "a process of user \(userID)" }
    let details = ["process \(processID)"] + (owner.map { ["\($0)"] } ?? [])
    return "\(name ?? "a program") (\(details.joined(separator: ", ")))"
  }
}

/// A socket that listens: one row of /proc/net/tcp or tcp6.
struct ListeningSocketRow: Equatable {
  var port: UInt16
  var userID: uid_t
  var inode: UInt64

  /// TCP_LISTEN in the kernel's numbering.
  private static let listens = "0A"

  /// Rows that are not like those of a kernel, or whose socket doesn't listen, are left out.
  static func parse(_ table: String) -> [ListeningSocketRow] {
    table.split(separator: "\n").dropFirst().compactMap { line in
      // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
      let columns = line.split(separator: " ")
      guard columns.count >= 10, columns[3] == listens, let colon = columns[1].lastIndex(of: ":"),
        let port = UInt16(columns[1][columns[1].index(after: colon)...], radix: 16),
        let userID = uid_t(columns[7]), let inode = UInt64(columns[9]), inode != 0
      else { return nil }
      return ListeningSocketRow(port: port, userID: userID, inode: inode)
    }
  }
}

/// Reading /proc, whose files have no length.
private enum ProcFile {
  /// Of a table with many rows.
  private static let limit = 16 << 20

  static func text(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while bytes.count < limit {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0 { return nil }
      if count == 0 { break }
      bytes += buffer[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  static func link(_ path: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = buffer.withUnsafeMutableBytes { raw in
      raw.assumingMemoryBound(to: CChar.self).baseAddress.map { readlink(path, $0, raw.count) } ?? 0
    }
    return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
  }
}
