import Addresses
import ControlInterface
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Dispatcher

/// Who may come in, and what that one may, over HTTP.
@Suite(.timeLimit(.minutes(2)))
struct AccessTests {
  private static func trustsThisMachine(_ settings: inout Settings) {
    settings.access.trustedProxies = [IPNetwork("127.0.0.0/8")].compactMap { $0 }
  }

  private static let deletion = #"{"model":"m"}"#

  @Test func onLoopbackWithoutKeysEveryoneIsAdministratorAndTheFirstKeyEndsThat() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let deleting = try await rig.send("DELETE", "/api/delete", body: Self.deletion)
      try await gpu0.ask(0).answer("")
      #expect(try await deleting.answer().status == 200)
      // A dummy, as OpenAI's clients send it, is nothing.
      #expect(try await rig.serve(gpu0, 1, key: "unused").status == 200)

      let user = try await rig.addKey("shop")
      let administrator = try await rig.addKey("root", role: .administrator)
      #expect(try await rig.status("DELETE", "/api/delete", body: Self.deletion) == 401)
      #expect(try await rig.status() == 401)
      #expect(try await rig.status(key: "unused") == 401)
      #expect(try await rig.serve(gpu0, 2, key: user).status == 200)
      let forbidden = try await rig.send("DELETE", "/api/delete", key: user, body: Self.deletion).answer()
      #expect(forbidden.status == 403)
      #expect(Spoken.ollama.errorMessage(forbidden.text)?.contains("administrators") == true)
      for path in ["/api/pull", "/api/create", "/api/copy", "/api/push"] {
        #expect(try await rig.status("POST", path, key: user, body: Self.deletion) == 403, "\(path)")
      }
      let allowed = try await rig.send("DELETE", "/api/delete", key: administrator, body: Self.deletion)
      try await gpu0.ask(3).answer("")
      #expect(try await allowed.answer().status == 200)
      #expect(try await rig.metric(#"ollama_pool_refusals_total{reason="unauthenticated"}"#) == 3)
      #expect(try await rig.metric(#"ollama_pool_refusals_total{reason="forbidden"}"#) == 5)

      // With the last one gone it is as it was.
      try await rig.revokeKey("shop")
      try await rig.revokeKey("root")
      #expect(try await rig.serve(gpu0, 4).status == 200)
      #expect(gpu0.asked.count == 5, "nothing else came through")
    }
  }

  @Test(arguments: Spoken.allCases)
  func whoShowsNoKeyIsToldSoInHisDialect(_ spoken: Spoken) async throws {
    try await DispatcherRig.run {
      $0.access.anonymous = .refuse
    } _: { rig in
      for (key, word) in [(nil, "wants an API key"), ("sk-pool-made-up", "not known here")] {
        let answer = try await rig.send("POST", spoken.path, key: key, body: spoken.body).answer()
        #expect(answer.status == 401)
        #expect(answer.head["WWW-Authenticate"] == #"Bearer realm="ollama-pool""#)
        #expect(spoken.errorMessage(answer.text)?.contains(word) == true, "\(answer.text)")
      }
      // What says that a pool is there, and the page by which one signs in, are for all.
      #expect(try await rig.get("/").status == 200)
      #expect(try await rig.get("/chat").status == 200)
      for path in ["/api/tags", "/api/version", "/api/ps", "/v1/models", "/chat/history", "/chat/session"] {
        #expect(try await rig.get(path).status == 401, "\(path)")
      }
    }
  }

  @Test func aTrustedProxyNamesTheUserAndNobodyElseDoes() async throws {
    try await DispatcherRig.run {
      Self.trustsThisMachine(&$0)
      var boss = UserSettings()
      (boss.role, boss.className) = (.administrator, "enterprise")
      $0.users = ["boss": boss]
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      #expect(try await rig.status() == 401, "the proxy has to name somebody")
      #expect(try await rig.status(headers: [("X-Forwarded-User", "a"), ("X-Forwarded-User", "b")]) == 401)
      let running = try await rig.send(headers: [("X-Forwarded-User", "ann"), ("X-Forwarded-For", "192.0.2.7")])
      _ = try await gpu0.ask(0)
      let waiting = try await rig.send(headers: [("X-Forwarded-User", "boss")])
      try await rig.waitForDepth(1)
      let requests = try await rig.requests()
      #expect(requests.map(\.user) == ["ann", "boss"] && requests.map(\.class) == ["standard", "enterprise"])
      let deletion = try await rig.status("DELETE", "/api/delete", headers: [("X-Forwarded-User", "ann")], body: "{}")
      #expect(deletion == 403)
      try await gpu0.ask(0).serve()
      try await gpu0.ask(1).serve()
      for client in [running, waiting] { #expect(try await client.answer().status == 200) }
    }
    try await DispatcherRig.run {
      $0.access.anonymous = .refuse
    } _: { rig in
      let status = try await rig.status(headers: [("X-Forwarded-User", "ann")])
      #expect(status == 401)
    }
  }

  @Test func theAnonymousComeInWhereTheConfigurationLetsThem() async throws {
    try await DispatcherRig.run {
      Self.trustsThisMachine(&$0)
      $0.access.anonymous = .allow
      $0.access.anonymousClass = "free"
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let client = try await rig.send(key: "unused", headers: [("X-Forwarded-For", "192.0.2.7")])
      let asked = try await gpu0.ask(0)
      let request = try #require(try await rig.requests().first)
      #expect(request.user == nil && request.class == "free")
      try await asked.serve()
      let answer = try await client.answer()
      #expect(answer.status == 200 && answer.head["RateLimit-Remaining"] == "9")
      #expect(try await rig.status("POST", "/api/pull", body: Self.deletion) == 403)
      // Each address has its own.
      let other = try await rig.serve(gpu0, 1, headers: [("X-Forwarded-For", "192.0.2.8")])
      #expect(other.head["RateLimit-Remaining"] == "9")
      let again = try await rig.serve(gpu0, 2, headers: [("X-Forwarded-For", "1.2.3.4, 192.0.2.7")])
      #expect(again.head["RateLimit-Remaining"] == "8", "what a client says of itself counts for nothing")
    }
  }

  @Test func whatTellsWhoSomebodyIsNeverReachesAnInstance() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let key = try await rig.addKey("shop")
      let client = try await rig.send(
        headers: [
          ("authorization", "Bearer \(key)"), ("X-Api-Key", key), ("Cookie", "a=b; pool_session=c"), ("X-Other", "1"),
        ])
      let asked = try await gpu0.ask(0)
      let names = Set(asked.headers.map { $0.name.lowercased() })
      #expect(names.isDisjoint(with: ["authorization", "x-api-key", "cookie"]) && names.contains("x-other"))
      #expect(!"\(asked.headers) \(asked.body)".contains(key))
      try await asked.serve()
      #expect(try await client.answer().status == 200)
    }
  }

  // MARK: Sessions

  @Test func aSessionThatSignedInIsOutAsSoonAsItsKeyIsRevoked() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let key = try await rig.addKey("shop")
      _ = try await rig.addKey("other")
      #expect(try await rig.status("POST", "/chat/session", body: #"{"key":"sk-pool-no"}"#) == 401)
      let signedIn = try await rig.send("POST", "/chat/session", body: #"{"key":"\#(key)"}"#).answer()
      #expect(signedIn.status == 204)
      let cookie = try #require(signedIn.head["Set-Cookie"]?.split(separator: ";").first)
      let shown = [("Cookie", String(cookie))]
      #expect(try await rig.status("GET", "/chat/history", headers: shown, body: "") == 200)
      #expect(try await rig.serve(gpu0, 0, headers: shown).status == 200)
      // A page of another origin has the browser send it along.
      let foreign = shown + [("Origin", "http://localhost:9999")]
      #expect(try await rig.status("GET", "/chat/history", headers: foreign, body: "") == 401)
      #expect(try await rig.status(headers: [("Cookie", "\(cookie)x")]) == 401, "forged")

      try await rig.revokeKey("shop")
      #expect(try await rig.status("GET", "/chat/history", headers: shown, body: "") == 401)
      #expect(try await rig.status(headers: shown) == 401)
      #expect(try await rig.status("POST", "/chat/session", body: #"{"key":"\#(key)"}"#) == 401)
    }
  }

  @Test func aSessionThatNobodyUsesExpires() async throws {
    let state = try TemporaryDirectory()
    var shown: [(String, String)] = []
    func signIn(_ rig: DispatcherRig) async throws {
      let key = try await rig.addKey("shop-\(try await rig.keys().count)")
      let signedIn = try await rig.send("POST", "/chat/session", body: #"{"key":"\#(key)"}"#).answer()
      let cookie = try #require(signedIn.head["Set-Cookie"]?.split(separator: ";").first)
      shown = [("Cookie", String(cookie))]
    }
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
      try await signIn(rig)
      #expect(try await rig.status("GET", "/chat/history", headers: shown, body: "") == 200)
    }
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
      let status = try await rig.status("GET", "/chat/history", headers: shown, body: "")
      #expect(status == 200, "a restart ends no session")
    }
    try await DispatcherRig.run(
      { $0.chat.sessionLifetime = .milliseconds(500) }, options: { $0.stateFolder = state.path }
    ) {
      rig in
      try await eventually("it is over") {
        try await rig.status("GET", "/chat/history", headers: shown, body: "") == 401
      }
      try await signIn(rig)
      try await eventually("while the dispatcher runs as well") {
        try await rig.status("GET", "/chat/history", headers: shown, body: "") == 401
      }
    }
  }

  @Test(arguments: [true, false])
  func theCookieIsForHTTPSAloneWhereATrustedProxySaysSo(_ isTrusted: Bool) async throws {
    try await DispatcherRig.run {
      if isTrusted { Self.trustsThisMachine(&$0) }
    } _: { rig in
      let key = try await rig.addKey("shop")
      let signedIn = try await rig.send(
        "POST", "/chat/session", headers: [("X-Forwarded-Proto", "https")], body: #"{"key":"\#(key)"}"#
      ).answer()
      let cookie = try #require(signedIn.head["Set-Cookie"])
      #expect(cookie.contains("HttpOnly; SameSite=Lax") && cookie.hasSuffix("; Secure") == isTrusted)
    }
  }
}
