/// How an event goes over the wire.
enum EventFrame {
  /// A line that says nothing, so that nobody between takes the connection for dead.
  static let heartbeat = Array(": \n\n".utf8)
  private static let token = Array("{\"type\":\"token\"".utf8)

  /// As a server-sent event. Whose it is goes with all but the pieces of the answer, which are many.
  static func serverSent(_ number: Int, _ json: ArraySlice<UInt8>, of request: String) -> [UInt8] {
    var frame: [UInt8] = []
    frame.reserveCapacity(json.count + 80)
    frame += "id: \(number)\ndata: ".utf8
    frame += json[..<(json.endIndex - 1)]
    if !json.starts(with: token) { name(request, &frame) }
    frame += "}\n\n".utf8
    return frame
  }

  /// As a message over a WebSocket, where several questions share one connection.
  static func message(_ number: Int, _ json: ArraySlice<UInt8>, of request: String) -> [UInt8] {
    var frame: [UInt8] = []
    frame.reserveCapacity(json.count + 80)
    frame += json[..<(json.endIndex - 1)]
    name(request, &frame)
    frame += ",\"id\":\(number)}".utf8
    return frame
  }

  /// A request's name has no letter that JSON would escape.
  private static func name(_ request: String, _ frame: inout [UInt8]) {
    frame += ",\"request_id\":\"".utf8
    frame += request.utf8
    frame += "\"".utf8
  }
}
