import OllamaAPI

/// How an event goes over the wire.
enum EventFrame {
  /// A line that says nothing, so that nobody between takes the connection for dead.
  static let heartbeat = Array(": \n\n".utf8)
  private static let token = Array("{\"type\":\"token\"".utf8)

  /// As a server-sent event. Whose it is goes with all but the pieces of the answer, which are many.
  static func serverSent(_ number: Int, _ json: ArraySlice<UInt8>, of request: String) -> [UInt8] {
    var frame = JSONWriter(capacity: json.count + 80)
    frame.raw("id: ")
    frame.number(number)
    frame.raw("\ndata: ")
    frame.raw(json[..<(json.endIndex - 1)])
    if !json.starts(with: token) { name(request, &frame) }
    frame.raw("}\n\n")
    return frame.bytes
  }

  /// As a message over a WebSocket, where several questions share one connection.
  static func message(_ number: Int, _ json: ArraySlice<UInt8>, of request: String) -> [UInt8] {
    var frame = JSONWriter(capacity: json.count + 80)
    frame.raw(json[..<(json.endIndex - 1)])
    name(request, &frame)
    frame.raw(",\"id\":")
    frame.number(number)
    frame.raw("}")
    return frame.bytes
  }

  private static func name(_ request: String, _ frame: inout JSONWriter) {
    frame.raw(",\"request_id\":")
    frame.string(request)
  }
}
