import PoolConfiguration
import TestSupport
import Testing

@testable import Dispatcher

/// What those do who chat.
extension DispatcherRig {
  /// With one instance, one slot and a model that needs no asking for.
  static func runChat(
    options adjust: (inout DispatcherOptions) -> Void = { _ in },
    _ body: (DispatcherRig, FakeOllama) async throws -> Void
  ) async throws {
    try await run {
      $0.chat.defaultModel = "m"
    } options: {
      adjust(&$0)
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      try await body(rig, gpu0)
    }
  }

  func askChat(
    _ message: String, cookie: String? = nil, key: String? = nil, more: String = "", headers: [(String, String)] = []
  ) async throws -> HTTPProbe {
    try await send(
      "POST", "/chat/stream", key: key, headers: headers + (cookie.map { [("Cookie", $0)] } ?? []),
      body: #"{"message":"\#(message)"\#(more)}"#)
  }

  func openSocket(_ headers: [(String, String)] = []) async throws -> HTTPProbe {
    let socket = try await connect()
    try await socket.send(
      "GET", "/chat/ws",
      headers: headers + [
        ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
      ])
    return socket
  }
}

extension HTTPProbe.Head {
  /// What a browser would send from then on.
  var cookie: String? { self["Set-Cookie"].map { String($0.prefix { $0 != ";" }) } }
}

extension HTTPProbe {
  /// A message of less than 126 bytes over a WebSocket, masked with zeros.
  func say(_ text: String) async throws {
    try await send(raw: [0x81, 0x80 | UInt8(text.utf8.count), 0, 0, 0, 0] + Array(text.utf8))
  }

  /// What is not masked ends the connection; what came before is answered before.
  func breakRules() async throws { try await send(raw: [0x81, 0x02, 0x7B, 0x7D]) }

  /// The rest of a stream's body.
  func rest() async throws -> String {
    var text = ""
    while let piece = try await piece() { text += piece.text }
    return text
  }
}

extension Asked {
  func answerChat(_ text: String) async throws {
    try await begin()
    try await chunk(#"{"message":{"role":"assistant","content":"\#(text)"},"done":false}"# + "\n")
    try await chunk(#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}"# + "\n")
    try await finish()
  }
}
