import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import Gateway

@Suite("The pool's own requests")
struct UpstreamRequestTests {
  private let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()

  /// Sends a request to a new fake instance and lets `serve` deal with it.
  private func send(
    _ method: String = "GET", body: [UInt8] = [], within time: TimeAmount = .seconds(30), bodyLimit: Int = 1 << 20,
    _ serve: (FakeConnection) async throws -> Void
  ) async throws -> UpstreamAnswer {
    let instance = try await FakeInstance.start()
    let address = try instance.address
    let loop = loop
    let answer = loop.flatSubmit {
      UpstreamRequest.send(
        method, "/api/version", body: body, to: address, within: time, bodyLimit: bodyLimit, on: loop
      ).answer
    }
    let connection = try await instance.connection()
    do { try await serve(connection) } catch { Issue.record(error) }
    let result = try await answer.get()
    try await connection.waitUntilClosed()
    return result
  }

  @Test("come back with status and body, however it is framed")
  func answers() async throws {
    for text in [
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
    ] {
      let answer = try await send { connection in
        _ = try await connection.request()
        for byte in text.utf8 { try await connection.send([byte]) }
      }
      #expect(answer == UpstreamAnswer(status: 200, body: Array("{}".utf8)))
    }
    let untilClose = try await send { connection in
      _ = try await connection.request()
      try await connection.send("HTTP/1.0 404 No\r\n\r\ngone")
      await connection.close()
    }
    #expect(untilClose == UpstreamAnswer(status: 404, body: Array("gone".utf8)))
  }

  @Test("carry a body, and the instance's own address as Host")
  func request() async throws {
    _ = try await send("POST", body: Array(#"{"model":"m"}"#.utf8)) { connection in
      let request = try await connection.request()
      #expect(request.hasPrefix("POST /api/version HTTP/1.1\r\nHost: 127.0.0.1:"))
      #expect(request.hasSuffix("Content-Length: 13\r\n\r\n" + #"{"model":"m"}"#))
      try await connection.answer("{}")
    }
  }

  @Test("fail in time when the instance says nothing")
  func timeout() async throws {
    await #expect(throws: UpstreamRequestError.timedOut(.milliseconds(100))) {
      try await send(within: .milliseconds(100)) { _ in }
    }
  }

  @Test("fail when the instance closes early, answers nonsense or too much")
  func failures() async throws {
    await #expect(throws: UpstreamRequestError.closedEarly) { try await send { await $0.close() } }
    await #expect(throws: UpstreamRequestError.closedEarly) {
      try await send { connection in
        try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal")
        await connection.close()
      }
    }
    await #expect(throws: UpstreamRequestError.malformed(ResponseError.badStatusLine.rawValue)) {
      try await send { try await $0.send("nonsense\r\n\r\n") }
    }
    await #expect(throws: UpstreamRequestError.bodyTooLarge(limit: 10)) {
      try await send(bodyLimit: 10) { try await $0.answer("01234567890") }
    }
  }

  @Test("fail when nobody listens")
  func refused() async throws {
    let instance = try await FakeInstance.start()
    let address = try instance.address
    try await instance.stop()
    let loop = loop
    await #expect(throws: UpstreamRequestError.self) {
      try await loop.flatSubmit {
        UpstreamRequest.send("GET", "/", to: address, within: .seconds(30), on: loop).answer
      }.get()
    }
  }

  @Test("can be cancelled, which closes the connection")
  func cancel() async throws {
    let instance = try await FakeInstance.start()
    let address = try instance.address
    let loop = loop
    let request = try await loop.submit {
      NIOLoopBound(
        UpstreamRequest.send("POST", "/api/generate", to: address, within: .seconds(60), on: loop), eventLoop: loop)
    }.get()
    let answer = try await loop.submit { request.value.answer }.get()
    let connection = try await instance.connection()
    _ = try await connection.request()
    try await loop.submit { request.value.cancel() }.get()
    await #expect(throws: UpstreamRequestError.cancelled) { try await answer.get() }
    try await connection.waitUntilClosed()
  }
}
