import Credentials
import NIOCore
import NIOHTTP1
import NIOWebSocket

extension Exchange {
  /// Turns the request's connection into a WebSocket.
  ///
  /// - Parameter answerHeaders: go with the answer.
  /// - Returns: nil where the client asked for something else, and was answered so.
  package func openWebSocket(
    _ delegate: any WebSocketDelegate, answerHeaders: [(name: String, value: String)]
  ) -> WebSocket? {
    guard case .parked = stage, let connection = client as? ClientConnection else { return nil }
    let headers = head.headers
    guard headers[canonicalForm: "upgrade"].contains(where: { $0.lowercased() == "websocket" }),
      headers[canonicalForm: "connection"].contains(where: { $0.lowercased() == "upgrade" }), head.version == .http1_1
    else {
      refuse(
        PoolError(
          status: 426, code: "websocket_needed",
          message: "Here is a WebSocket: ask with 'Upgrade: websocket', 'Connection: Upgrade' and HTTP/1.1."),
        headers: [("Upgrade", "websocket")])
      return nil
    }
    let keys = headers["sec-websocket-key"]
    guard headers["sec-websocket-version"] == ["13"], keys.count == 1, let accept = WebSocketKey.accept(keys[0]) else {
      refuse(
        PoolError(
          status: 400, code: "malformed_request",
          message: "A WebSocket takes one Sec-WebSocket-Key of 16 bytes in base64, and Sec-WebSocket-Version 13."),
        headers: [("Sec-WebSocket-Version", "13")])
      return nil
    }
    let socket = WebSocket(connection, self, delegate)
    stage = .upgraded
    guard connection.upgrade(to: socket, accept: accept, headers: answerHeaders) else { return nil }
    return socket
  }
}
