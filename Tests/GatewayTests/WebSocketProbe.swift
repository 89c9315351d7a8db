import NIOCore
import TestSupport

@testable import Gateway

/// A WebSocket's client that sends whatever the test says, frame by frame.
final class WebSocketProbe {
  struct Frame: Equatable, CustomStringConvertible {
    var first: UInt8
    var content: [UInt8]
    var text: String { String(decoding: content, as: UTF8.self) }
    /// Of a farewell; nil where it has none.
    var code: Int? { content.count < 2 ? nil : Int(content[0]) << 8 | Int(content[1]) }
    var description: String { "\(String(first, radix: 16)) \(content.count) bytes: \(text.prefix(200))" }
  }

  // The first byte of a frame that is a message's, or a message, of its own.
  static let text: UInt8 = 0x81
  static let binary: UInt8 = 0x82
  static let farewell: UInt8 = 0x88
  static let ping: UInt8 = 0x89
  static let pong: UInt8 = 0x8A

  /// The key of the example in RFC 6455, 1.3, and the other fields of a good request.
  static let fields = [
    ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
  ]

  let probe: HTTPProbe
  private var unread: ArraySlice<UInt8> = []

  private init(_ probe: HTTPProbe) { self.probe = probe }

  static func open(_ rig: GatewayRig, staysOpen: Bool = false) async throws -> WebSocketProbe {
    let probe = try await HTTPProbe.connect(port: rig.port, staysOpen: staysOpen)
    try await probe.send("GET", "/chat/ws", headers: fields)
    return try await accepted(probe)
  }

  /// One whose request has been sent.
  static func accepted(_ probe: HTTPProbe) async throws -> WebSocketProbe {
    let head = try await probe.head()
    guard head.status == 101 else { throw WebSocketSurprise(description: "status 101, not \(head.status)") }
    return WebSocketProbe(probe)
  }

  // MARK: Sending

  /// - Parameters:
  ///   - first: flags and opcode.
  ///   - length: what it says of its length; nil for the truth.
  static func frame(_ first: UInt8, _ content: [UInt8], isMasked: Bool = true, length: Int? = nil) -> [UInt8] {
    let length = length ?? content.count
    let mask: [UInt8] = isMasked ? [0x5A, 0x00, 0xFF, 0x13] : []
    var bytes = [first]
    switch length {
    case ...125: bytes.append(UInt8(length))
    case ...0xFFFF: bytes += [126, UInt8(length >> 8), UInt8(length & 0xFF)]
    default: bytes += [127] + (0..<8).map { UInt8(truncatingIfNeeded: length >> (56 - 8 * $0)) }
    }
    if isMasked { bytes[1] |= 0x80 }
    return bytes + mask + (isMasked ? content.indices.map { content[$0] ^ mask[$0 % 4] } : content)
  }

  static func frame(_ first: UInt8, _ text: String) -> [UInt8] { frame(first, Array(text.utf8)) }

  func send(_ bytes: [UInt8]) async throws { try await probe.send(raw: bytes) }
  func send(text: String) async throws { try await send(Self.frame(Self.text, text)) }

  // MARK: Receiving

  /// The next frame; nil at the end of the connection.
  func next() async throws -> Frame? {
    while true {
      if let frame = takeFrame() { return frame }
      guard let piece = try await probe.piece() else { return nil }
      unread += piece.bytes
    }
  }

  /// The code of the farewell, behind whatever else was sent. Nothing may come after it.
  func farewellCode() async throws -> Int? {
    while let frame = try await next() {
      guard frame.first == Self.farewell else { continue }
      guard try await next() == nil else { throw WebSocketSurprise(description: "a farewell is the last frame") }
      return frame.code
    }
    throw WebSocketSurprise(description: "a farewell")
  }

  private func takeFrame() -> Frame? {
    let bytes = Array(unread.prefix(10))
    guard bytes.count >= 2 else { return nil }
    let extended = bytes[1] == 127 ? 8 : bytes[1] == 126 ? 2 : 0
    guard bytes.count >= 2 + extended else { return nil }
    let length = extended == 0 ? Int(bytes[1]) : bytes[2..<(2 + extended)].reduce(0) { $0 << 8 | Int($1) }
    guard unread.count >= 2 + extended + length else { return nil }
    let content = Array(unread.dropFirst(2 + extended).prefix(length))
    unread = unread.dropFirst(2 + extended + length)
    return Frame(first: bytes[0], content: content)
  }
}

/// What came in place of what a test waits for.
struct WebSocketSurprise: Error, CustomStringConvertible { let description: String }

/// The pool's side of WebSockets: echoes, unless the test says otherwise. On the loop.
final class RecordingSocket: WebSocketDelegate {
  private(set) var socket: WebSocket?
  private(set) var wasOpened = false
  private(set) var messages: [String] = []
  private(set) var caughtUp = 0
  private(set) var closed = 0
  var onMessage: (WebSocket, String) -> Void = { $0.send($1.utf8) }
  var onCaughtUp: (WebSocket) -> Void = { _ in }

  func open(_ exchange: Exchange) {
    socket = exchange.openWebSocket(self, answerHeaders: [("X-Test", "yes")])
    wasOpened = socket != nil
  }

  func socketReceived(_ text: ByteBuffer) {
    messages.append(String(buffer: text))
    if let socket { onMessage(socket, String(buffer: text)) }
  }

  func socketCaughtUp() {
    caughtUp += 1
    if let socket { onCaughtUp(socket) }
  }

  func socketClosed() {
    closed += 1
    socket = nil
  }
}

extension GatewayRig {
  /// Runs `body` with a gateway whose requests all want to be WebSockets, and checks that each was told its end once.
  static func runWithSockets(
    limits: GatewayLimits = GatewayLimits(), prepare: @Sendable @escaping (RecordingSocket) -> Void = { _ in },
    _ body: (GatewayRig, RecordedSockets) async throws -> Void
  ) async throws {
    var sockets: RecordedSockets?
    try await run(limits: limits) { rig in
      let recorded = RecordedSockets(rig, NIOLoopBoundBox.makeBoxSendingValue([], eventLoop: rig.loop))
      sockets = recorded
      try await rig.set { delegate in
        delegate.onArrival = { exchange in
          let socket = RecordingSocket()
          prepare(socket)
          recorded.sockets.value.append(socket)
          socket.open(exchange)
        }
      }
      try await body(rig, recorded)
    }
    try await sockets?.checkEach()
  }
}

struct RecordedSockets: Sendable {
  let rig: GatewayRig
  fileprivate let sockets: NIOLoopBoundBox<[RecordingSocket]>

  fileprivate init(_ rig: GatewayRig, _ sockets: NIOLoopBoundBox<[RecordingSocket]>) {
    self.rig = rig
    self.sockets = sockets
  }

  /// Does something with the socket that was opened as number `number`, from 0.
  func onLoop<Value: Sendable>(
    _ number: Int = 0, _ body: @Sendable @escaping (RecordingSocket) throws -> Value
  ) async throws -> Value {
    let sockets = sockets
    return try await rig.onLoop { _, _ in try body(sockets.value[number]) }
  }

  func messages(_ number: Int = 0) async throws -> [String] { try await onLoop(number) { $0.messages } }

  func waitUntilClosed(_ number: Int = 0) async throws {
    try await eventually("the socket is closed") { try await onLoop(number) { $0.closed } == 1 }
  }

  fileprivate func checkEach() async throws {
    let sockets = sockets
    let wrong = try await rig.onLoop { _, _ in
      sockets.value.filter { $0.closed != ($0.wasOpened ? 1 : 0) }.count
    }
    guard wrong == 0 else {
      throw WebSocketSurprise(description: "each socket is told its end once; \(wrong) were not")
    }
  }
}
