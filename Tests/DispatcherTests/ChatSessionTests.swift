import Foundation
import QueueStore
import TestSupport
import Testing

@testable import Dispatcher

/// Whose a question is, and what a cookie is worth.
@Suite(.timeLimit(.minutes(1)))
struct ChatSessionTests {
  private struct History: Decodable {
    struct Message: Decodable { let content: String }
    let messages: [Message]
  }

  private func history(_ rig: DispatcherRig, _ headers: [(String, String)]) async throws -> [String] {
    let answer = try await rig.send("GET", "/chat/history", headers: headers, body: "").answer()
    return try JSONDecoder().decode(History.self, from: Data(answer.bytes)).messages.map(\.content)
  }

  @Test func aPageOfAnotherOriginHasNothingOfTheSession() async throws {
    try await DispatcherRig.runChat { rig, gpu0 in
      let asking = try await rig.askChat("mine")
      let head = try await asking.head()
      let (cookie, name) = (try #require(head.cookie), try #require(head["X-Request-Id"]))
      try await gpu0.ask(0).answerChat("yes")
      #expect(try await asking.rest().contains("yes"))
      // As a browser sends it that has the cookie, for a page of another port.
      let foreign = [("Cookie", cookie), ("Origin", "http://127.0.0.1:1")]
      #expect(try await history(rig, foreign) == [])
      for (method, path, status) in [
        ("GET", "/chat/stream/\(name)", 404), ("DELETE", "/chat/requests/\(name)", 404), ("GET", "/queue/\(name)", 404),
        ("DELETE", "/chat/history", 204), ("DELETE", "/chat/session", 204),
      ] {
        let answer = try await rig.send(method, path, headers: foreign, body: "").answer()
        #expect(answer.status == status && answer.head["Set-Cookie"] == nil, "\(method) \(path)")
      }
      let socket = try await rig.openSocket(foreign)
      let opened = try await socket.head()
      #expect(opened.status == 101 && opened["Set-Cookie"] == nil)
      try await socket.say(#"{"type":"follow","request_id":"\#(name)"}"#)
      try await socket.breakRules()
      #expect(try await socket.readUntilClosed().contains(#""code":"not_found""#))
      // It may ask, as anybody may; the browser keeps the session that it has.
      let theirs = try await rig.askChat("theirs", headers: foreign).head()
      #expect(theirs.status == 200 && theirs["Set-Cookie"] == nil)
      #expect(try await history(rig, [("Cookie", cookie)]) == ["mine", "yes"])

      let key = try await rig.addKey("ann")
      let signedIn = try await rig.send("POST", "/chat/session", headers: foreign, body: #"{"key":"\#(key)"}"#).answer()
      #expect(signedIn.status == 403 && signedIn.text.contains("origin_not_allowed"), "\(signedIn.text)")
      #expect(signedIn.head["Set-Cookie"] == nil)
    }
  }

  @Test func manyWhoAskForHistoriesAtOnceEachSeeTheirOwn() async throws {
    try await DispatcherRig.runChat { rig, gpu0 in
      var cookies: [String] = []
      for (number, message) in ["a", "b"].enumerated() {
        let asking = try await rig.askChat(message)
        cookies.append(try #require(try await asking.head().cookie))
        try await gpu0.ask(number).answerChat("yes")
        _ = try await asking.rest()
      }
      var clients: [(mine: String, probe: HTTPProbe)] = []
      for number in 0..<30 {
        let (cookie, mine) = number % 10 == 9 ? (cookies[1], "b") : (cookies[0], "a")
        let probe = try await rig.send("GET", "/chat/history", headers: [("Cookie", cookie)], body: "")
        // Some leave, whether or not it is their turn.
        if number % 3 == 0 { await probe.close() } else { clients.append((mine, probe)) }
      }
      for (mine, probe) in clients {
        let history = try JSONDecoder().decode(History.self, from: Data(try await probe.answer().bytes))
        #expect(history.messages.map(\.content) == [mine, "yes"])
      }
    }
  }

  @Test func whoIsOnlyAnAddressSeesNoQuestionWithoutItsCookie() async throws {
    try await DispatcherRig.runChat { rig, _ in
      let head = try await rig.askChat("mine").head()
      let (cookie, name) = (try #require(head.cookie), try #require(head["X-Request-Id"]))
      let other = try #require(try await rig.askChat("theirs").head().cookie)
      #expect(try await rig.get("/queue").text.contains(name), "it may be known by its name")
      for shown in [nil, "pool_session=x.y", cookie + "x", other] {
        let headers = shown.map { [("Cookie", $0)] } ?? []
        for (method, path) in [("GET", "/chat/stream/"), ("GET", "/queue/"), ("DELETE", "/chat/requests/")] {
          #expect(try await rig.status(method, path + name, headers: headers, body: "") == 404, "\(method) \(path)")
        }
      }
      #expect(try await rig.status("GET", "/queue/\(name)", headers: [("Cookie", cookie)], body: "") == 200)
      #expect(try await rig.status("DELETE", "/chat/requests/\(name)", headers: [("Cookie", cookie)], body: "") == 204)
    }
  }

  @Test func whoHasAKeySeesItsQuestionsUnlessACookieSaysOtherwise() async throws {
    try await DispatcherRig.runChat { rig, _ in
      let (mine, theirs) = (try await rig.addKey("mine"), try await rig.addKey("theirs"))
      let name = try #require(try await rig.askChat("a", key: mine).head()["X-Request-Id"])
      let path = "/queue/\(name)"
      #expect(try await rig.status("GET", path, key: mine, body: "") == 200)
      #expect(try await rig.status("GET", path, key: theirs, body: "") == 404)
      for worthless in ["pool_session=x.y", "pool_session="] {
        #expect(try await rig.status("GET", path, key: mine, headers: [("Cookie", worthless)], body: "") == 404)
      }
      #expect(try await rig.status("GET", path, key: mine, headers: [("Cookie", "another=1")], body: "") == 200)
    }
  }

  @Test func whoSignsOutWhileAQuestionIsWrittenDownHearsOfIt() async throws {
    try await DispatcherRig.runChat { rig, gpu0 in
      let key = try await rig.addKey("ann")
      for _ in 0..<20 {
        let signedIn = try await rig.send("POST", "/chat/session", body: #"{"key":"\#(key)"}"#).answer()
        let cookie = try #require(signedIn.head.cookie)
        let asking = try await rig.askChat("a", cookie: cookie)
        let leaving = try await rig.send("DELETE", "/chat/session", headers: [("Cookie", cookie)], body: "")
        let status = try await asking.head().status
        #expect([200, 401, 499].contains(status), "\(status)")
        _ = try await asking.rest()
        #expect(try await leaving.answer().status == 204)
      }
      try await eventually("nothing is left of them") { try await rig.requests().isEmpty }
      #expect(!rig.journalText.contains("storing"), "\(rig.journalText)")
      _ = gpu0
    }
  }

  @Test func aWebSocketWhoseSessionIsGoneIsClosed() async throws {
    try await DispatcherRig.runChat { rig, _ in
      let socket = try await rig.openSocket()
      let cookie = try #require(try await socket.head().cookie)
      try await socket.say(#"{"type":"ask","message":"a"}"#)
      try await eventually("it was taken") { try await history(rig, [("Cookie", cookie)]) == ["a"] }
      #expect(try await rig.status("DELETE", "/chat/session", headers: [("Cookie", cookie)], body: "") == 204)
      try await socket.say(#"{"type":"ask","message":"b"}"#)
      let told = try await socket.readUntilClosed()
      #expect(told.contains(#""type":"accepted""#) && told.hasSuffix("unauthenticated"), "\(told)")
      #expect(!told.contains("storage_failed") && !rig.journalText.contains("storing"))
    }
  }

  @Test func aWebSocketBeginsItsSessionWithItsFirstQuestion() async throws {
    let state = try TemporaryDirectory()
    let files = StoredFiles(state: state)
    try await DispatcherRig.runChat {
      $0.stateFolder = state.path
    } _: { rig, _ in
      let sockets = [try await rig.openSocket(), try await rig.openSocket()]
      let cookie = try #require(try await sockets[0].head().cookie)
      #expect(try await sockets[1].head().status == 101)
      try await sockets[0].say(#"{"type":"ask","message":"a"}"#)
      try await sockets[0].say(#"{"type":"ask","message":"b"}"#)
      try await eventually("both are of one session") { try await history(rig, [("Cookie", cookie)]) == ["a", "b"] }
      #expect(try await files.read().sessions.count == 1)
    }
  }
}
