import Glibc
import TestSupport
import Testing

@testable import Launching

@Suite struct OllamaExecutableTests {
  let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory() }

  private func program(_ name: String) throws -> String {
    let path = folder.path(to: name)
    if let slash = name.lastIndex(of: "/") { mkdir(folder.path(to: String(name[..<slash])), 0o755) }
    try folder.write("#!/bin/sh\n", to: name, permissions: 0o755)
    return path
  }

  @Test func `the configured program is taken, and nothing else`() throws {
    let path = try program("mine")
    let found = try OllamaExecutable.find(setting: path, .refused, path: folder.path, ownFolder: folder.path)
    #expect(found.path == path)
    #expect(found.kind == .ollama)
    #expect(found.identity.size == 10)

    _ = try program("ollama")
    for (name, what) in [("nowhere", "does not exist"), ("file", "is not an executable file"), (".", "executable")] {
      if name == "file" { try folder.write("", to: "file") }
      let error = #expect(throws: LaunchError.self) {
        try OllamaExecutable.find(setting: folder.path(to: name), .refused, path: folder.path)
      }
      #expect(error?.code == .missingExecutable)
      #expect(error?.message.contains(folder.path(to: name)) == true)
      #expect(error?.message.contains(what) == true)
    }
  }

  @Test func `PATH is searched in its order, before the usual folders`() throws {
    let second = try program("b/ollama")
    let path = "\(folder.path(to: "a")):relative::\(folder.path(to: "b"))"
    #expect(try OllamaExecutable.find(setting: nil, .refused, path: path, ownFolder: folder.path).path == second)
    let first = try program("a/ollama")
    #expect(try OllamaExecutable.find(setting: nil, .refused, path: path, ownFolder: folder.path).path == first)
  }

  @Test func `a folder and a file without the right are passed over`() throws {
    mkdir(folder.path(to: "a"), 0o755)
    mkdir(folder.path(to: "a/ollama"), 0o755)
    mkdir(folder.path(to: "b"), 0o755)
    try folder.write("", to: "b/ollama")
    let right = try program("c/ollama")
    let path = ["a", "b", "c"].map { folder.path(to: $0) }.joined(separator: ":")
    #expect(try OllamaExecutable.find(setting: nil, .refused, path: path).path == right)
  }

  @Test func `where PATH has none, the usual folders are searched in their order`() throws {
    let second = try program("b/ollama")
    let folders = ["nowhere", "a", "b"].map { folder.path(to: $0) }
    func find() throws -> String {
      try OllamaExecutable.find(setting: nil, .refused, path: "/nonexistent", usualFolders: folders).path
    }
    #expect(try find() == second)
    let first = try program("a/ollama")
    #expect(try find() == first)
  }

  /// That a machine which runs the tests may have one in them doesn't matter to the tests.
  @Test func `the usual folders are those of Ollama's installer and of packages`() {
    #expect(OllamaExecutable.usualFolders == ["/usr/local/bin", "/usr/bin", "/opt/ollama/bin"])
  }

  @Test
  func `without ollama the simulator beside the pool stands in where it may, and else the error says where it looked`()
    throws
  {
    func find(_ standIns: StandIns) throws -> OllamaExecutable {
      try OllamaExecutable.find(
        setting: nil, standIns, path: "/nonexistent/bin", usualFolders: ["/nonexistent/usual", "/nonexistent/opt"],
        ownFolder: folder.path)
    }
    #expect(throws: LaunchError.self) { try find(.allowed) }
    let simulator = try program("ollama-simulator")
    let found = try find(.allowed)
    #expect(found.path == simulator)
    #expect(found.kind == .simulator)
    let error = #expect(throws: LaunchError.self) { try find(.refused) }
    #expect(error?.code == .missingExecutable)
    #expect(error?.message.contains("/nonexistent/bin:/nonexistent/usual:/nonexistent/opt") == true)
    #expect(error?.message.contains("key ollama") == true)
  }

  @Test func `an ollama that links to the simulator is the simulator`() throws {
    let simulator = try program("ollama-simulator")
    let link = folder.path(to: "ollama")
    #expect(symlink(simulator, link) == 0)
    let found = try OllamaExecutable.find(setting: nil, .refused, path: folder.path)
    #expect(found.path == link)
    #expect(found.kind == .simulator)
  }

  @Test func `another program at the same path has another identity`() throws {
    let path = try program("ollama")
    let before = try OllamaExecutable.find(setting: path, .refused)
    #expect(try OllamaExecutable.find(setting: path, .refused) == before)
    unlink(path)
    try folder.write("#!/bin/sh\n:\n", to: "ollama", permissions: 0o755)
    #expect(try OllamaExecutable.find(setting: path, .refused).identity != before.identity)
  }
}
