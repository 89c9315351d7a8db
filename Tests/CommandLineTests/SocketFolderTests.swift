import Glibc
import TestSupport
import Testing

@testable import ollama_pool

@Suite struct SocketFolderTests {
  @Test func `the first folder in which anybody answers is taken`() {
    let folders = ["/a", "/b", "/c"].map { SocketFolder(folder: $0) }
    let chosen = SocketFolder.choose(among: folders) { path in
      path.hasPrefix("/a") ? ENOENT : path == "/b/supervisor.sock" ? 0 : ECONNREFUSED
    }
    #expect(chosen.dispatcher == "/b/dispatcher.sock")
  }

  @Test func `a pool that this user may not use is no reason to look further`() {
    let folders = ["/a", "/b"].map { SocketFolder(folder: $0) }
    #expect(SocketFolder.choose(among: folders) { $0.hasPrefix("/a") ? EACCES : 0 } == folders[0])
  }

  @Test func `where nobody answers it is the system's pool that is missing`() {
    #expect(SocketFolder.choose(among: [SocketFolder(folder: "/a")]) { _ in ENOENT } == .system)
  }

  @Test func `one of the two sockets names the other one too`() {
    let named = SocketFolder(named: "/x/supervisor.sock")
    #expect(named == SocketFolder(folder: "/x"))
    #expect(named.dispatcher == "/x/dispatcher.sock")
    #expect(SocketFolder(named: "dispatcher.sock").supervisor == "./supervisor.sock")
    #expect(SocketFolder(named: "/x/").dispatcher == "/x/dispatcher.sock")
  }

  @Test func `root's pool is the system's, and others have theirs in their session`() {
    #expect(SocketFolder.own(userID: 0, runtimeFolder: "/run/user/0") == "/run/ollama-pool")
    #expect(SocketFolder.own(userID: 1000, runtimeFolder: "/run/user/1000") == "/run/user/1000/ollama-pool")
    #expect(SocketFolder.own(userID: 1000, runtimeFolder: nil) == "/tmp/ollama-pool-1000")
  }

  @Test func `a session's folder goes before the system's`() {
    let candidates = SocketFolder.candidates(userID: 4_000_000, runtimeFolder: "/run/user/4000000")
    #expect(candidates == [SocketFolder(folder: "/run/user/4000000/ollama-pool"), .system])
  }
}
