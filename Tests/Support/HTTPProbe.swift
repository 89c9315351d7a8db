import NIOCore
import NIOPosix

/// An HTTP/1.1 client for tests that shows what came over the wire, and when. It can send anything, also what is
/// no HTTP; it follows no redirect, retries nothing and keeps no pool. One task uses it at a time.
package actor HTTPProbe {
  package struct Head: Sendable {
    package let status: Int
    package let reason: String
    /// In the order of arrival, names as they came.
    package let headers: [(name: String, value: String)]
    package let receivedAt: ContinuousClock.Instant

    /// The first value of a header, whatever the case of its name.
    package subscript(name: String) -> String? {
      headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }
  }

  /// A part of a body, without the framing of the chunked encoding, as it arrived.
  package struct Piece: Sendable {
    package let bytes: [UInt8]
    package let receivedAt: ContinuousClock.Instant
    package var text: String { String(decoding: bytes, as: UTF8.self) }
  }

  package struct Answer: Sendable {
    package let head: Head
    package let pieces: [Piece]
    package var status: Int { head.status }
    package var bytes: [UInt8] { pieces.flatMap(\.bytes) }
    package var text: String { String(decoding: bytes, as: UTF8.self) }
  }

  private let channel: any Channel
  private let arrivals: Arrivals
  private let authority: String
  private var unread = ResponseReader()

  // MARK: Connecting

  /// - Parameter staysOpen: whether its side of the connection stays open once the peer has closed the other one.
  package static func connect(
    host: String = "127.0.0.1", port: Int, staysOpen: Bool = false
  ) async throws -> HTTPProbe {
    let arrivals = Arrivals()
    let channel = try await bootstrap(arrivals).channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(.allowRemoteHalfClosure, value: staysOpen)
      .connect(host: host, port: port).get()
    return HTTPProbe(channel, arrivals, authority: host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)")
  }

  package static func connect(unixSocket path: String) async throws -> HTTPProbe {
    let arrivals = Arrivals()
    let channel = try await bootstrap(arrivals).connect(unixDomainSocketPath: path).get()
    return HTTPProbe(channel, arrivals, authority: "localhost")
  }

  private static func bootstrap(_ arrivals: Arrivals) -> ClientBootstrap {
    ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connectTimeout(.seconds(5))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(ArrivalHandler(arrivals))
        }
      }
  }

  private init(_ channel: any Channel, _ arrivals: Arrivals, authority: String) {
    self.channel = channel
    self.arrivals = arrivals
    self.authority = authority
  }

  deinit { channel.close(promise: nil) }

  // MARK: Sending

  /// Sends a request with Host, and Content-Length where there is a body, unless `headers` has them.
  package func send(
    _ method: String, _ path: String, headers: [(String, String)] = [], body: String = ""
  ) async throws {
    let given = Set(headers.map { $0.0.lowercased() })
    var lines = ["\(method) \(path) HTTP/1.1"]
    if !given.contains("host") { lines.append("Host: \(authority)") }
    if !body.isEmpty && given.isDisjoint(with: ["content-length", "transfer-encoding"]) {
      lines.append("Content-Length: \(body.utf8.count)")
    }
    lines += headers.map { "\($0.0): \($0.1)" }
    unread.expectAnswer(to: method)
    try await send(raw: lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
  }

  /// Sends text as it is.
  package func send(raw text: String) async throws { try await send(raw: Array(text.utf8)) }

  /// Sends bytes as they are.
  package func send(raw bytes: [UInt8]) async throws {
    try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
  }

  /// Stops taking bytes from the socket, as a client does that is slow.
  package func pauseReading() async throws { try await channel.setOption(.autoRead, value: false).get() }
  package func resumeReading() async throws { try await channel.setOption(.autoRead, value: true).get() }
  /// Takes what has come, of a client that is slow.
  package func readOnce() { channel.read() }

  /// Ends what this side sends, and goes on reading.
  package func closeOutput() async throws { try await channel.close(mode: .output) }

  /// Closes the connection at once, whatever is under way.
  package func close() async { try? await channel.close() }

  // MARK: Receiving

  /// The next answer's status line and headers.
  package func head(within limit: Duration = .seconds(30)) async throws -> Head {
    while true {
      if let head = try unread.nextHead() { return head }
      guard try await receive(within: limit) else { throw HTTPProbeError("closed before a whole head came") }
    }
  }

  /// The next part of the body, as soon as some of it is there; nil at its end.
  package func piece(within limit: Duration = .seconds(30)) async throws -> Piece? {
    while true {
      if let piece = try unread.nextPiece() { return piece }
      if unread.bodyIsComplete { return nil }
      guard try await receive(within: limit) else {
        if unread.endOfConnectionEndsBody() { return nil }
        throw HTTPProbeError("closed in the middle of a body")
      }
    }
  }

  /// The whole answer: head and body, each part within `limit`.
  package func answer(within limit: Duration = .seconds(30)) async throws -> Answer {
    let head = try await head(within: limit)
    var pieces: [Piece] = []
    while let piece = try await piece(within: limit) { pieces.append(piece) }
    return Answer(head: head, pieces: pieces)
  }

  /// All bytes as they came until the peer closed (or reset) the connection.
  package func readUntilClosed(within limit: Duration = .seconds(30)) async throws -> String {
    let deadline = ContinuousClock.now + limit
    while try await receive(within: deadline - .now) {}
    return String(decoding: unread.takeAll(), as: UTF8.self)
  }

  /// Waits for bytes; false when the connection is closed.
  private func receive(within limit: Duration) async throws -> Bool {
    guard let arrival = try await arrivals.next(within: limit, on: channel.eventLoop) else { return false }
    unread.append(arrival.bytes, at: arrival.time)
    return true
  }

  // MARK: All in one

  /// One request on a connection of its own.
  package static func exchange(
    _ method: String, _ path: String, host: String = "127.0.0.1", port: Int, headers: [(String, String)] = [],
    body: String = "", within limit: Duration = .seconds(30)
  ) async throws -> Answer {
    let probe = try await connect(host: host, port: port)
    do {
      try await probe.send(method, path, headers: headers, body: body)
      let answer = try await probe.answer(within: limit)
      await probe.close()
      return answer
    } catch {
      await probe.close()
      throw error
    }
  }
}

/// What was wrong with an answer, or that none came.
package struct HTTPProbeError: Error, CustomStringConvertible {
  package let description: String

  init(_ description: String) { self.description = description }
}
