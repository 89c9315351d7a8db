package import Glibc

/// What keeps a process running, by its control group: it has to be ended as a whole, and through whoever runs it.
package enum ControlGroupOwner: Equatable, Sendable {
  /// A service of systemd's, such as `ollama.service`.
  /// - Parameter user: whose own manager runs it; nil: the system manager.
  case service(String, user: uid_t? = nil)
  /// - Parameters:
  ///   - id: 64 hexadecimal digits.
  ///   - user: whose container it is; nil: the system's.
  case container(Engine, id: String, user: uid_t? = nil)

  package enum Engine: String, Sendable, CaseIterable {
    case docker = "Docker"
    case podman = "Podman"
    case kubernetes = "Kubernetes"

    /// What precedes the id in the names of groups: with systemd's help, of scopes.
    fileprivate var prefixes: [String] {
      switch self {
      case .docker: ["docker-"]
      case .podman: ["libpod-"]
      case .kubernetes: ["cri-containerd-", "crio-"]
      }
    }
  }

  /// - Parameter text: that of a /proc/PID/cgroup.
  /// - Returns: nil for a process of nobody's, such as one that was started in a terminal, whose group is a scope.
  package init?(controlGroups text: String) {
    let groups = text.split(separator: "\n").compactMap(Group.init)
    // Of several hierarchies (cgroups of the first version) not each has the container's group.
    if let container = groups.lazy.compactMap(\.container).first {
      self = container
      return
    }
    let systemds =
      groups.first { $0.isUnified && !$0.path.isEmpty } ?? groups.first { $0.controllers == "name=systemd" }
      ?? groups.first
    guard let service = systemds?.service else { return nil }
    self = service
  }
}

/// "0::/system.slice/ollama.service": one line, the group of one hierarchy (cgroups(7)).
private struct Group {
  var isUnified: Bool
  var controllers: Substring
  var path: [Substring]

  init?(_ line: Substring) {
    let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
    guard fields.count == 3 else { return nil }
    isUnified = fields[0] == "0"
    controllers = fields[1]
    path = fields[2].split(separator: "/")
  }

  /// What a service has below it is its own affair, also units of a systemd in a container. A scope holds what somebody
  /// else has started.
  var service: ControlGroupOwner? {
    for (index, name) in path.enumerated() {
      if name.hasSuffix(".scope") { return nil }
      if name.hasSuffix(".service"), Self.user(name) == nil { return .service(String(name), user: user(above: index)) }
    }
    return nil
  }

  var container: ControlGroupOwner? {
    for (index, name) in path.enumerated() {
      // Podman leaves a service's container, which its unit starts and ends, in that service.
      if name.hasSuffix(".service"), Self.user(name) == nil { return nil }
      let word = name.hasSuffix(".scope") ? name.dropLast(".scope".count) : name
      for engine in ControlGroupOwner.Engine.allCases {
        guard let prefix = engine.prefixes.first(where: word.hasPrefix), Self.isID(word.dropFirst(prefix.count))
        else { continue }
        return .container(engine, id: String(word.dropFirst(prefix.count)), user: user(above: index))
      }
      // Without systemd's help.
      guard Self.isID(word), index > 0 else { continue }
      if path[index - 1] == "docker" { return .container(.docker, id: String(word)) }
      if path[0].hasPrefix("kubepods") { return .container(.kubernetes, id: String(word)) }
    }
    return nil
  }

  private func user(above index: Int) -> uid_t? { path[..<index].lazy.compactMap(Self.user).first }

  /// Of `user@1000.service`, a user's own manager.
  private static func user(_ name: Substring) -> uid_t? {
    guard name.hasPrefix("user@"), name.hasSuffix(".service") else { return nil }
    return uid_t(name.dropFirst("user@".count).dropLast(".service".count))
  }

  private static func isID(_ text: Substring) -> Bool { text.utf8.count == 64 && text.allSatisfy(\.isHexDigit) }
}

extension ControlGroupOwner: CustomStringConvertible {
  package var description: String {
    switch self {
    case .service(let name, nil): name
    case .service(let name, let user?): "\(name) of user \(user)"
    case .container(let engine, let id, let user):
      "container \(id.prefix(12)) of \(engine.rawValue)" + (user.map { " of user \($0)" } ?? "")
    }
  }
}

extension ControlGroupOwner {
  /// What ends a process, with all that belongs to it.
  /// - Parameters:
  ///   - owner: that of its control group.
  ///   - reader: who is to do it; what is another user's takes root.
  package static func remedy(
    against process: pid_t, of owner: ControlGroupOwner?, for reader: uid_t = geteuid()
  ) -> String {
    owner.map { $0.remedy(for: reader) } ?? "`kill \(process)`"
  }

  private func remedy(for reader: uid_t) -> String {
    switch self {
    case .service(let name, let user): "`\(Self.systemctl(user, for: reader)) stop \(name)`"
    case .container(.docker, let id, nil): "`docker stop \(id.prefix(12))`"
    case .container(.docker, let id, let user?):
      "`docker --host unix:///run/user/\(user)/docker.sock stop \(id.prefix(12))`"
    case .container(.podman, let id, let user): "`\(Self.acting(as: user, for: reader))podman stop \(id.prefix(12))`"
    case .container(.kubernetes, let id, _): "`crictl ps --id \(id.prefix(12))` names its pod: delete that"
    }
  }

  /// The command for that user's own manager, or the system manager.
  package static func systemctl(_ user: uid_t?, for reader: uid_t = geteuid()) -> String {
    user == nil ? "systemctl" : acting(as: user, for: reader) + "systemctl --user"
  }

  private static func acting(as user: uid_t?, for reader: uid_t) -> String {
    guard let user, user != reader else { return "" }
    return "sudo -u '#\(user)' XDG_RUNTIME_DIR=/run/user/\(user) "
  }
}
