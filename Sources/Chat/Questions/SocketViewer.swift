/// Follows one question over a WebSocket.
final class SocketViewer: Viewer {
  private weak var socket: ChatSocket?
  private let tag: String?
  var question: Question?
  var seen: Int
  private(set) var hasBegun = false

  init(_ socket: ChatSocket, tag: String?, seen: Int) {
    self.socket = socket
    self.tag = tag
    self.seen = seen
  }

  var takesMore: Bool { socket?.takesMore ?? false }
  var isThere: Bool { socket?.isOpen ?? false }

  func refuse(_ error: ChatError) {
    socket?.fail(error, tag: tag)
    socket?.ended(self)
  }

  func begin(cookie: [(name: String, value: String)]) {
    guard let question else { return }
    hasBegun = true
    socket?.accept(question, tag: tag)
  }

  func send(_ number: Int, _ json: ArraySlice<UInt8>, of request: String) {
    socket?.send(EventFrame.message(number, json, of: request))
  }

  func end() { socket?.ended(self) }

  /// Its connection ends with the pool.
  func cut() { socket?.ended(self) }
}
