import Gateway
import PoolCore

/// Somebody who follows a question.
protocol Viewer: AnyObject {
  /// Which knows it, too, until it has left or there is nothing more to come.
  var question: Question? { get set }
  /// The number of the last event that it was sent.
  var seen: Int { get set }
  /// Whether it was told that events follow.
  var hasBegun: Bool { get }
  /// Whether it has not left.
  var isThere: Bool { get }
  /// Whether it takes more without anything piling up.
  var takesMore: Bool { get }

  /// Nothing came of what it wanted.
  func refuse(_ error: ChatError)
  /// It has what it wanted: events follow.
  ///
  /// - Parameter cookie: the field with that of the session, where the client may get it.
  func begin(cookie: [(name: String, value: String)])
  func send(_ number: Int, _ json: ArraySlice<UInt8>, of request: String)
  /// No more events come.
  func end()
  /// No more events come of this dispatcher; the next one will have some.
  func cut()
}

/// Follows a question by server-sent events, as the answer to one request.
final class EventStream: Viewer {
  let exchange: Exchange
  var seen: Int
  /// When it was last sent something.
  private(set) var sentAt = Instant(nanoseconds: 0)
  var question: Question?
  private unowned let chat: Chat

  init(_ chat: Chat, _ exchange: Exchange, seen: Int = 0) {
    self.chat = chat
    self.exchange = exchange
    self.seen = seen
  }

  var takesMore: Bool { exchange.takesMore }
  var isThere: Bool { exchange.isOpen }
  private(set) var hasBegun = false

  func refuse(_ error: ChatError) {
    // A stream that has begun can't say so; its client comes back, and hears it then.
    if hasBegun { exchange.cutStream() } else { exchange.refuse(error) }
  }

  func begin(cookie: [(name: String, value: String)]) {
    guard let question else { return }
    hasBegun = true
    sentAt = chat.pool.now
    exchange.beginStream(
      status: 200,
      headers: [
        ("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-store"),
        // nginx would collect what comes.
        ("X-Accel-Buffering", "no"), ("X-Request-Id", question.id),
      ] + cookie)
  }

  func send(_ number: Int, _ json: ArraySlice<UInt8>, of request: String) {
    sentAt = chat.pool.now
    exchange.stream(EventFrame.serverSent(number, json, of: request))
  }

  func beat() {
    guard takesMore else { return }
    sentAt = chat.pool.now
    exchange.stream(EventFrame.heartbeat)
  }

  func end() { exchange.endStream() }
  func cut() { exchange.cutStream() }
}
