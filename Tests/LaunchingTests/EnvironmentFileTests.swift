import Foundation
import PoolCore
import TestSupport
import Testing

@testable import Launching

@Suite struct EnvironmentFileTests {
  private func file(_ folder: TemporaryDirectory, _ value: String) -> EnvironmentFile {
    EnvironmentFile(of: "gpu0", in: folder.path, [(name: "TOKEN", value: value)])
  }

  private func inode(_ path: String) -> UInt64 {
    var status = stat()
    return stat(path, &status) == 0 ? UInt64(status.st_ino) : 0
  }

  @Test func `what is special is escaped also before a mark that combines with it`() throws {
    let folder = try TemporaryDirectory()
    let mark = "\u{301}"
    #expect(
      file(folder, "a\"\(mark)b\\\(mark)c$\(mark)\r\n").text.utf8
        .elementsEqual("TOKEN=\"a\\\"\(mark)b\\\\\(mark)c\\$\(mark)\r\n\"\n".utf8))
    #expect(
      EnvironmentFile(of: "gpu0", in: "/a[\(mark)b]*?\\", []).pattern == "/a\\[\(mark)b]\\*\\?\\\\/gpu0.environment")
  }

  @Test func `a file that says the same is left as it is, unless others may read it`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "gpu0.environment")
    try file(folder, "é").write()
    let first = inode(path)
    try file(folder, "é").write()
    #expect(inode(path) == first)
    // The same to people, and not to a server.
    try file(folder, "e\u{301}").write()
    #expect(try Data(contentsOf: URL(filePath: path)) == Data("TOKEN=\"e\u{301}\"\n".utf8))
    chmod(path, 0o644)
    try file(folder, "e\u{301}").write()
    var status = stat()
    #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
  }

  @Test func `what can't be written costs nothing that is there, and leaves nothing behind`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "gpu0.environment")
    try FileManager.default.createDirectory(atPath: path + "/in the way", withIntermediateDirectories: true)
    let error = #expect(throws: LaunchError.self) { try file(folder, "x").write() }
    #expect(error?.message.contains(path) == true)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["gpu0.environment"])
  }

  @Test func `files of other instances go, and nothing else does`() throws {
    let folder = try TemporaryDirectory()
    let others = ["orders.json", "lock", "Not An ID.environment", ".environment"]
    for name in ["gpu0.environment", "gpu1.environment", "gpu2.environment.new"] + others {
      try folder.write("x", to: name)
    }
    EnvironmentFile.remove(in: folder.path, exceptOf: ["gpu0"])
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        == (["gpu0.environment"] + others).sorted())
  }
}
