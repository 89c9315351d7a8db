import Foundation
import Glibc
import Systemd
import TestSupport
import Testing

@testable import Launching

@Suite struct SeenProcessTests {
  /// A /proc of processes by their number: command line, the kernel's name, control group, parent.
  private func folder(
    _ processes: [(pid_t, arguments: [String], name: String, cgroup: String, parent: pid_t)]
  ) throws -> TemporaryDirectory {
    let folder = try TemporaryDirectory()
    for process in processes {
      try #require(mkdir(folder.path(to: "\(process.0)"), 0o755) == 0)
      try folder.write(process.arguments.map { $0 + "\0" }.joined(), to: "\(process.0)/cmdline")
      try folder.write("\(process.name)\n", to: "\(process.0)/comm")
      try folder.write("0::\(process.cgroup)\n", to: "\(process.0)/cgroup")
      try folder.write("\(process.0) (x) S \(process.parent) 0\n", to: "\(process.0)/stat")
    }
    return folder
  }

  private static let serve = ["/usr/local/bin/ollama", "serve"]

  @Test func `every ollama serve is found, and whose it is`() async throws {
    let session = "/user.slice/session-1.scope"
    let folder = try folder([
      (10, Self.serve, "ollama", "/system.slice/ollama.service", 1),
      (20, Self.serve, "ollama", "/ollamapool.slice/ollama-instance-gpu0.service", 1),
      // The pool's program may have any name, and be the first process of a container.
      (31, ["a-pool", "instance-guard"], "ollama-pool", session, 1),
      (32, Self.serve, "ollama", session, 31),
      (40, Self.serve, "ollama", session, 5),
      (41, ["ollama", "run", "m"], "ollama", session, 5),
      (42, ["/opt/serve", "serve"], "serve", "/system.slice/serve.service", 1),
    ])
    #expect(
      await SeenProcess.ollamaServers(root: folder.path) == [
        SeenProcess(processID: 10, command: "ollama", owner: .service("ollama.service")),
        SeenProcess(processID: 20, command: "ollama", owner: .service("ollama-instance-gpu0.service"), isPools: true),
        SeenProcess(processID: 32, command: "ollama", isPools: true), SeenProcess(processID: 40, command: "ollama"),
      ])
    #expect(await SeenProcess.look(at: 99, root: folder.path) == nil)
    #expect(
      await SeenProcess.look(at: 10, root: folder.path)?.description == "ollama (process 10, ollama.service)")
  }

  @Test func `one that hangs is called by the kernel's name, and holds nobody up`() async throws {
    let folder = try folder([
      (510, [], "ollama", "/system.slice/ollama.service", 1), (511, [], "train", "/", 1),
      (512, Self.serve, "ollama", "/", 1),
    ])
    // Who opens it waits until somebody writes into it.
    for process in [510, 511] {
      let arguments = folder.path(to: "\(process)/cmdline")
      try #require(unlink(arguments) == 0 && mkfifo(arguments, 0o600) == 0)
    }
    #expect(
      await SeenProcess.look(at: 511, root: folder.path) == SeenProcess(processID: 511, command: "train"))
    #expect(await SeenProcess.ollamaServers(root: folder.path).map(\.processID) == [512])
    for process in [510, 511] { close(open(folder.path(to: "\(process)/cmdline"), O_WRONLY)) }
  }

  @Test func `a ring of parents ends`() async throws {
    let folder = try folder([(10, ["a"], "a", "/", 11), (11, ["b"], "b", "/", 10)])
    #expect(await SeenProcess.look(at: 10, root: folder.path) == SeenProcess(processID: 10, command: "a"))
  }

  @Test func `who may open a node goes by owner, group and mode`() throws {
    let folder = try TemporaryDirectory()
    let node = try folder.write("", to: "node")
    #expect(chmod(node, 0o640) == 0)
    #expect(DeviceAccess(to: folder.path(to: "none"), of: .own) == nil)
    let own = try #require(DeviceAccess(to: node, of: .own))
    #expect(own.isOpen && own.mode == "rw-r-----" && own.owner == User.current)
    // Of neither its user nor its groups.
    let other = User(name: "nobody-at-all", userID: 54_321, groupID: 54_321, home: "/")
    #expect(DeviceAccess(to: node, of: other)?.isOpen == false)
    #expect(DeviceAccess(to: node, of: other, besides: [own.group])?.isOpen == false)
    #expect(chmod(node, 0o660) == 0)
    #expect(DeviceAccess(to: node, of: other, besides: [own.group])?.isOpen == true)
    #expect(DeviceAccess(to: node, of: other)?.isOpen == false)
  }

  @Test func `this process's own rights are the kernel's word, not the account's`() throws {
    let folder = try TemporaryDirectory()
    let node = try folder.write("", to: "node")
    // By the account closed and by the kernel open, as in a container that keeps the groups of its user.
    let other = User(name: "nobody-at-all", userID: 54_321, groupID: 54_321, home: "/")
    #expect(DeviceAccess(to: node, of: other, isOwn: true)?.isOpen == true)
    // And the other way about, but for root.
    let root = User(name: "root", userID: 0, groupID: 0, home: "/")
    #expect(chmod(node, 0) == 0)
    let sealed = DeviceAccess(to: node, of: root, isOwn: true)
    #expect(sealed?.isOpen == (geteuid() == 0) && sealed?.isOpenAfterLogin == (geteuid() != 0))
    #expect(chmod(node, 0o660) == 0 && chown(node, uid_t.max, 54_321) == (geteuid() == 0 ? 0 : -1))
    #expect(DeviceAccess(to: node, of: .own)?.isOfGroupToJoin == (geteuid() != 0 && getegid() != 0))
  }
}
