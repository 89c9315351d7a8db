import Crypto
import FoundationEssentials

/// What a server answers to a WebSocket client's key, so that no other program takes the connection for its own:
/// RFC 6455, 4.2.2.
package enum WebSocketKey {
  private static let suffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

  /// nil where the client's key is not 16 bytes in Base64.
  package static func accept(_ key: String) -> String? {
    guard key.utf8.count == 24, Data(base64Encoded: key)?.count == 16 else { return nil }
    return Data(Insecure.SHA1.hash(data: Array((key + suffix).utf8))).base64EncodedString()
  }
}
