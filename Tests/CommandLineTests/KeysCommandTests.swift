import ControlInterface
import Foundation
import TestSupport
import Testing
import Varlink

/// `ollama-pool keys`, against daemons that answer what a test says; `UserTests` has the real one.
@Suite struct KeysCommandTests {
  private static let made = FakePool.Answer.json(#"{"id":"1f","key":"sk-pool-secret"}"#)
  private static let list = FakePool.Answer.json(
    """
    {"keys":[
     {"id":"1f","name":"shop","role":"user","class":"free","requestsPerHour":10,"createdSecondsAgo":7200},
     {"id":"2a","name":"ann.o@example.org","role":"administrator","class":"standard","tokensPerHour":50000,
      "concurrent":2,"waiting":4,"createdSecondsAgo":3}]}
    """)
  private static let one = FakePool.Answer.json(
    #"{"keys":[{"id":"1f","name":"shop","role":"user","class":"free","createdSecondsAgo":1}]}"#)
  private static let none = FakePool.Answer.json(#"{"keys":[]}"#)

  @Test func `the key alone is on standard output, and what to do with it on standard error`() async throws {
    try await FakePool.run(dispatcher: ["AddKey": Self.made, "ListKeys": Self.list]) { pool in
      let result = try await pool.run("keys", "add", "shop")
      #expect(result.end == .exited(0))
      #expect(result.output == "sk-pool-secret\n")
      #expect(result.errorOutput.contains("That is the key shop (user, class free), in force from now on."))
      #expect(result.errorOutput.contains("Authorization: Bearer"))
      #expect(!result.errorOutput.contains("sk-pool") && !result.errorOutput.contains("first"))
      #expect(pool.calls["ollamapool.Dispatcher.AddKey"] == ["name": "shop", "role": "user"])
    }
  }

  @Test func `whoever makes the first key hears what it ends`() async throws {
    try await FakePool.run(dispatcher: ["AddKey": Self.made, "ListKeys": Self.one]) { pool in
      let result = try await pool.run("keys", "add", "shop")
      #expect(result.output == "sk-pool-secret\n")
      #expect(result.errorOutput.contains("It is the first one. Whoever shows no key is refused from now on"))
    }
  }

  @Test func `every option reaches the dispatcher, and JSON is one object`() async throws {
    try await FakePool.run(dispatcher: ["AddKey": Self.made, "ListKeys": Self.list]) { pool in
      let result = try await pool.run(
        "keys", "add", "shop", "--class", "free", "--administrator", "--requests-per-hour", "5", "--tokens-per-hour",
        "6", "--concurrent", "7", "--waiting", "8", "--json")
      #expect(result.errorOutput.isEmpty)
      #expect(result.json as? [String: String] == ["id": "1f", "name": "shop", "key": "sk-pool-secret"])
      #expect(
        pool.calls["ollamapool.Dispatcher.AddKey"] == [
          "name": "shop", "role": "administrator", "class": "free", "requestsPerHour": 5, "tokensPerHour": 6,
          "concurrent": 7, "waiting": 8,
        ])
    }
  }

  @Test(
    arguments: [
      (
        VarlinkErrorReply(ControlError.unknownClass, ["class": "gold", "known": ["free", "standard"]]),
        "there is no class gold: there are free, standard"
      ),
      (
        VarlinkErrorReply(ControlError.keyNameTaken, ["name": "shop"]),
        "there is a key shop already: take another name, or revoke that one first: ollama-pool keys revoke shop"
      ),
      (
        VarlinkErrorReply(ControlError.tooManyKeys, ["most": 10_000]),
        "there are as many keys as may be, 10000: revoke some (`ollama-pool keys list`)"
      ),
      (
        VarlinkErrorReply(ControlError.keyNotStored, ["reason": "the disk is full"]),
        "nothing has changed: the disk is full"
      ),
    ] as [(VarlinkErrorReply, String)])
  func `what the dispatcher refuses is one line that says what to do`(
    _ row: (error: VarlinkErrorReply, text: String)
  ) async throws {
    try await FakePool.run(dispatcher: ["AddKey": .error(row.error), "ListKeys": Self.list]) { pool in
      let result = try await pool.run("keys", "add", "shop", "--class", "gold")
      #expect(result.end == .exited(1) && result.output.isEmpty)
      #expect(result.complaint == "ollama-pool: \(row.text)")
    }
  }

  @Test func `the list shows all but the keys`() async throws {
    try await FakePool.run(dispatcher: ["ListKeys": Self.list]) { pool in
      let result = try await pool.run("keys", "list")
      #expect(
        result.output == """
          NAME               ROLE           CLASS     REQUESTS/H  TOKENS/H  CONCURRENT  WAITING  AGE  ID
          shop               user           free              10         -           -        -   2h  1f
          ann.o@example.org  administrator  standard           -     50000           2        4   3s  2a

          """)
      let names = try await pool.run("keys", "--json").jsonList.map { $0["name"] as? String }
      #expect(names == ["shop", "ann.o@example.org"])
    }
    try await FakePool.run(dispatcher: ["ListKeys": Self.none]) { pool in
      let result = try await pool.run("keys")
      #expect(result.output == "There is no API key: `ollama-pool keys add NAME` makes one.\n")
    }
  }

  @Test func `a key is revoked by its name or its ID, and the last one with what that means`() async throws {
    let revoked = FakePool.Answer.json(#"{"id":"1f","name":"shop"}"#)
    for (list, isLast) in [(Self.list, false), (Self.none, true)] {
      try await FakePool.run(dispatcher: ["RevokeKey": revoked, "ListKeys": list]) { pool in
        let result = try await pool.run("keys", "revoke", "1f")
        #expect(result.end == .exited(0))
        #expect(result.output.hasPrefix("The API key shop is revoked.\n"))
        #expect(result.output.contains("It was the last one.") == isLast)
        #expect(pool.calls["ollamapool.Dispatcher.RevokeKey"] == ["key": "1f"])
      }
    }
  }

  @Test func `an unknown key is answered with those there are`() async throws {
    let unknown = FakePool.Answer.error(VarlinkErrorReply(ControlError.noSuchKey, ["key": "x"]))
    try await FakePool.run(dispatcher: ["RevokeKey": unknown, "ListKeys": Self.list]) { pool in
      let result = try await pool.run("keys", "revoke", "x")
      #expect(result.end == .exited(1))
      #expect(result.complaint == "ollama-pool: there is no API key x: there are shop, ann.o@example.org")
    }
  }

  @Test func `without a dispatcher it says how to start one`() async throws {
    try await FakePool.run { pool in
      for arguments in [["keys", "add", "shop"], ["keys", "list"], ["keys", "revoke", "shop"]] {
        let result = try await CommandLine.run(arguments, socket: pool.folder.path)
        #expect(result.end == .exited(1) && result.output.isEmpty)
        #expect(result.complaint.contains("the dispatcher is not running"))
        #expect(result.complaint.contains("systemctl start ollama-pool.target"))
      }
    }
  }
}
