import Foundation
import TestSupport

/// Somebody who chats: keeps a cookie, as a browser does.
final class ChatUser {
  let port: Int
  var cookie: String?

  init(_ pool: Pool) { port = pool.port }

  private var headers: [(String, String)] { cookie.map { [("Cookie", $0)] } ?? [] }

  private func keep(_ head: HTTPProbe.Head) {
    if let set = head["Set-Cookie"] { cookie = set.split(separator: ";").first.map(String.init) }
  }

  /// Asks, and leaves the stream open.
  func ask(_ message: String, resumable: Bool = false, headers more: [(String, String)] = []) async throws
    -> EventReader
  {
    let probe = try await HTTPProbe.connect(port: port)
    try await probe.send(
      "POST", "/chat/stream", headers: headers + more,
      body: #"{"message":"\#(message)","model":"llama3.2","resumable":\#(resumable)}"#)
    let reader = try await EventReader(probe)
    keep(reader.head)
    return reader
  }

  func follow(_ request: String, after number: Int?) async throws -> EventReader {
    let probe = try await HTTPProbe.connect(port: port)
    let last = number.map { [("Last-Event-ID", String($0))] } ?? []
    try await probe.send("GET", "/chat/stream/\(request)", headers: headers + last)
    return try await EventReader(probe)
  }

  func send(_ method: String, _ path: String, body: String = "") async throws -> HTTPProbe.Answer {
    let answer = try await HTTPProbe.exchange(method, path, port: port, headers: headers, body: body)
    keep(answer.head)
    return answer
  }

  struct History: Decodable {
    struct Message: Decodable {
      let role: String
      let content: String
    }
    struct Open: Decodable { let request_id: String }
    let messages: [Message]
    let open: [Open]
  }

  func history() async throws -> History {
    try JSONDecoder().decode(History.self, from: Data(try await send("GET", "/chat/history").bytes))
  }
}

/// Reads the events of one stream as they come.
final class EventReader {
  struct Event: Decodable, Equatable {
    var type: String
    var number: Int?
    var position: Int?
    var message: String?
    var eta_seconds: Int?
    var eta_p90_seconds: Int?
    var token: String?
    var code: String?
    var error: String?
    var stopped: Bool?
    var request_id: String?
    var timestamp: String?

    var isEnd: Bool { type == "done" || type == "error" }
  }

  let head: HTTPProbe.Head
  private let probe: HTTPProbe
  private var unread = ""
  private(set) var comments = 0
  /// Everything that came.
  private(set) var events: [Event] = []

  init(_ probe: HTTPProbe) async throws {
    self.probe = probe
    head = try await probe.head(within: .seconds(30))
  }

  var request: String { head["X-Request-Id"] ?? "" }
  var last: Int { events.last?.number ?? 0 }
  /// The answer so far; what a restart has made void is left out.
  var text: String {
    let start = events.lastIndex { $0.type == "restart" } ?? 0
    return events[start...].compactMap(\.token).joined()
  }
  /// Each place once; the time left may change without the place.
  var places: [Int] {
    events.compactMap(\.position).reduce(into: []) { if $0.last != $1 { $0.append($1) } }
  }

  /// The next event; nil at the end of the stream.
  func next(within limit: Duration = .seconds(30)) async throws -> Event? {
    while true {
      if let end = unread.firstRange(of: "\n\n") {
        let frame = unread[..<end.lowerBound]
        unread = String(unread[end.upperBound...])
        guard let event = try Self.event(frame) else {
          comments += 1
          continue
        }
        events.append(event)
        return event
      }
      guard let piece = try await probe.piece(within: limit) else { return nil }
      unread += piece.text
    }
  }

  private static func event(_ frame: Substring) throws -> Event? {
    var (number, data) = (Int?.none, "")
    for line in frame.split(separator: "\n") {
      if line.hasPrefix("id: ") { number = Int(line.dropFirst(4)) }
      if line.hasPrefix("data: ") { data += line.dropFirst(6) }
    }
    guard !data.isEmpty else { return nil }
    var event = try JSONDecoder().decode(Event.self, from: Data(data.utf8))
    event.number = number
    return event
  }

  /// Reads until an event is as it should be.
  @discardableResult
  func next(until condition: (Event) -> Bool, within limit: Duration = .seconds(30)) async throws -> Event {
    while let event = try await next(within: limit) {
      if condition(event) { return event }
    }
    throw EventReaderError(description: "the stream ended after \(events)")
  }

  /// Reads all to the end.
  @discardableResult
  func finish(within limit: Duration = .seconds(60)) async throws -> [Event] {
    while try await next(within: limit) != nil {}
    return events
  }

  func close() async { await probe.close() }
}

struct EventReaderError: Error, CustomStringConvertible { let description: String }
