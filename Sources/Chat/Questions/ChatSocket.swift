import FoundationEssentials
import Gateway
import NIOCore
import OllamaAPI
import PoolCore

/// One WebSocket of somebody who chats: many questions at a time, each with its events.
final class ChatSocket: WebSocketDelegate {
  /// Questions that one connection may follow at once.
  static let mostFollowed = 100

  /// What a client says.
  private struct Order: Decodable {
    enum Kind: String, Decodable { case ask, cancel, follow }

    var type: Kind
    /// What the client calls its question until it knows its name.
    var tag: String?
    /// Of a question that was asked before.
    var request_id: String?
    var last_event_id: Int?
  }

  let exchange: Exchange
  private var asker: Asker
  private unowned let chat: Chat
  private var socket: WebSocket?
  private var viewers: [SocketViewer] = []
  private(set) var sentAt: Instant

  init(_ chat: Chat, _ exchange: Exchange, _ asker: Asker) {
    self.chat = chat
    self.exchange = exchange
    self.asker = asker
    sentAt = chat.pool.now
  }

  func began(_ socket: WebSocket) { self.socket = socket }

  // MARK: What comes

  func socketReceived(_ text: ByteBuffer) {
    let data = Data(text.readableBytesView)
    guard let order = try? JSONDecoder().decode(Order.self, from: data) else {
      let error = ChatError.malformed(
        italian: "Un messaggio dev'essere un oggetto JSON con 'type' uguale ad ask, cancel o follow.",
        english: "A message has to be a JSON object whose 'type' is ask, cancel or follow.")
      return fail(error, tag: nil)
    }
    // Its key may have been revoked since, or its session be gone: the client gets another one with another connection.
    guard exchange.isStillAdmitted, asker.beginsSession || chat.session(of: asker) != nil else {
      socket?.close(.notAdmitted)
      return
    }
    switch order.type {
    case .ask: ask(text, tag: order.tag)
    case .cancel:
      guard let question = question(order, mayEnd: true) else { return }
      chat.stop(question)
    case .follow:
      guard let question = question(order), !viewers.contains(where: { $0.question === question }),
        let viewer = viewer(tag: order.tag, seen: order.last_event_id ?? 0)
      else { return }
      chat.join(question, viewer, asker)
    }
  }

  private func ask(_ text: ByteBuffer, tag: String?) {
    do throws(ChatError) {
      let asked = try AskedQuestion.read(text)
      guard let viewer = viewer(tag: tag) else { return }
      chat.ask(asked, asker, viewer: viewer)
    } catch {
      fail(error, tag: tag)
    }
  }

  /// nil where there are too many already.
  private func viewer(tag: String?, seen: Int = 0) -> SocketViewer? {
    guard viewers.count < Self.mostFollowed else {
      fail(.tooManyOpen(Self.mostFollowed), tag: tag)
      return nil
    }
    let viewer = SocketViewer(self, tag: tag, seen: seen)
    viewers.append(viewer)
    return viewer
  }

  private func question(_ order: Order, mayEnd: Bool = false) -> Question? {
    guard let question = chat.question(order.request_id, of: asker, mayEnd: mayEnd) else {
      fail(.notFound, tag: order.tag)
      return nil
    }
    return question
  }

  func socketCaughtUp() {
    for viewer in viewers where viewer.hasBegun { viewer.question?.pump(viewer) }
  }

  func socketClosed() {
    chat.closed(self)
    let left = viewers
    viewers = []
    socket = nil
    for viewer in left {
      if let question = viewer.question { chat.left(viewer, question) }
    }
  }

  // MARK: What goes

  var takesMore: Bool { socket?.takesMore ?? false }
  var isOpen: Bool { socket != nil }

  func send(_ message: some Collection<UInt8>) {
    sentAt = chat.pool.now
    socket?.send(message)
  }

  func fail(_ error: ChatError, tag: String?) {
    var json = JSONWriter()
    ChatEvent.write(error.told(in: asker.language), &json)
    Self.write(tag, &json)
    send(json.bytes)
  }

  /// Tells the name of a question that was taken.
  func accept(_ question: Question, tag: String?) {
    asker.beginsSession = false
    var json = JSONWriter()
    json.raw("{\"type\":\"accepted\",\"request_id\":")
    json.string(question.id)
    Self.write(tag, &json)
    send(json.bytes)
  }

  private static func write(_ tag: String?, _ json: inout JSONWriter) {
    if let tag {
      json.raw(",\"tag\":")
      json.string(tag)
    }
    json.raw("}")
  }

  func ended(_ viewer: SocketViewer) {
    viewers.removeAll { $0 === viewer }
    if chat.isStopping { closeIfIdle() }
  }

  func beat() {
    sentAt = chat.pool.now
    socket?.ping()
  }

  /// The pool stops: nothing more is taken.
  func closeIfIdle() {
    if viewers.isEmpty { socket?.close(.poolStops) }
  }
}
