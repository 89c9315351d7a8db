import Testing

import OllamaAPI

@Suite struct HostRuleTests {
  let rule = HostRule(hostname: "Box", localAddresses: ["203.0.113.7", "2001:db8::7", "no address"])

  @Test(arguments: [
    "localhost", "LocalHost:11434", "127.0.0.1:11434", "127.8.8.8", "[::1]:11434", "[::1]", "::1", "10.1.2.3:80",
    "192.168.0.1", "172.31.0.1", "0.0.0.0:11434", "box:1", "BOX", "a.localhost", "x.local:5", "y.internal", "",
    "[fd00::1]:1",
    "203.0.113.7:1", "[2001:db8::7]", "[::ffff:127.0.0.1]:5", "[fe80::1%eth0]".replacing("fe80", with: "fd80"),
  ])
  func `local names and addresses are answered`(host: String) { #expect(rule.allows(host)) }

  @Test(arguments: [
    "example.com", "example.com:11434", "8.8.8.8", "172.32.0.1", "[2001:db8::8]:1", "localhost.example.com", "local",
    "xlocalhost", "box.example.com", "203.0.113.8", "127.0.0.1.nip.io", "[fe80::1]", ":::", "evil.com#.local.x",
  ])
  func `others are refused`(host: String) { #expect(!rule.allows(host)) }
}

@Suite struct OriginRuleTests {
  let exposed = (
    name: "Access-Control-Expose-Headers",
    value: "X-Request-Id,Retry-After,RateLimit-Limit,RateLimit-Remaining,RateLimit-Reset"
  )
  let rule = OriginRule(extra: ["https://chat.example.com", "https://*.corp.example"])

  @Test(arguments: [
    "http://localhost", "https://localhost:3000", "http://127.0.0.1:8080", "http://0.0.0.0", "app://x", "file://",
    "tauri://localhost", "vscode-webview://1", "vscode-file://a", "https://chat.example.com", "https://a.corp.example",
    "HTTP://LOCALHOST:1",
  ])
  func `known pages get their headers`(origin: String) {
    #expect(
      rule.verdict(origin: origin, host: "pool:11434", isPreflight: false)
        == .allowed(headers: [exposed, ("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]))
  }

  @Test(arguments: [
    "http://example.com", "https://localhost.example.com", "https://chat.example.com.evil", "http://127.0.0.2", "null",
    "https://corp.example", "http://chat.example.com",
  ])
  func `unknown pages are refused`(origin: String) {
    #expect(rule.verdict(origin: origin, host: "pool:11434", isPreflight: true) == .refused)
  }

  @Test func `no origin and the server's own are as always`() {
    #expect(rule.verdict(origin: nil, host: "pool", isPreflight: false) == .sameOrigin)
    #expect(rule.verdict(origin: "", host: "pool", isPreflight: false) == .sameOrigin)
    #expect(rule.verdict(origin: "http://pool:11434", host: "pool:11434", isPreflight: false) == .sameOrigin)
    #expect(rule.verdict(origin: "http://pool:1", host: "pool:11434", isPreflight: false) == .refused)
  }

  @Test func `a preflight is told methods, headers and how long`() throws {
    guard case .allowed(let headers) = rule.verdict(origin: "http://localhost", host: "x", isPreflight: true) else {
      Issue.record("refused")
      return
    }
    let names = headers.map(\.name)
    #expect(names.contains("Access-Control-Allow-Methods"))
    #expect(headers.first { $0.name == "Access-Control-Max-Age" }?.value == "43200")
    let allowed = try #require(headers.first { $0.name == "Access-Control-Allow-Headers" }?.value)
    for name in ["Authorization", "x-stainless-retry-count", "Last-Event-ID", "X-Api-Key", "X-Pool-Progress"] {
      #expect(allowed.split(separator: ",").contains(Substring(name)))
    }
  }

  @Test func `a star allows everyone`() {
    #expect(
      OriginRule(extra: ["*"]).verdict(origin: "https://any.example", host: "x", isPreflight: false)
        == .allowed(headers: [exposed, ("Access-Control-Allow-Origin", "*")]))
  }
}
