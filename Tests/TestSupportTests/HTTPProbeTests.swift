import TestSupport
import Testing

/// The probe against a server of a few lines of Python that sends exactly what a test tells it.
@Suite struct HTTPProbeTests {
  private static let server = """
    import socket, sys
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.recv(65536)
        for number, part in enumerate(sys.argv[1:]):
            if number > 0:
                sys.stdin.readline()
            connection.sendall(part.encode().decode("unicode_escape").encode())
        connection.close()
    """

  private func serve(_ parts: String...) async throws -> (program: RunningProgram, port: Int) {
    let program = try RunningProgram("python3", ["-c", Self.server] + parts)
    let port = try await eventualValue("the server listens") { program.outputLines.first.flatMap { Int($0) } }
    return (program, port)
  }

  @Test func aChunkedBodyComesInPiecesWithTheirTimes() async throws {
    let (program, port) = try await serve(
      #"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"#, #"4\r\ntw"#,
      #"oo\r\n0\r\nTrailer: x\r\n\r\n"#)
    let probe = try await HTTPProbe.connect(port: port)
    try await probe.send("GET", "/")
    #expect(try await probe.head().status == 200)
    var times: [ContinuousClock.Instant] = []
    for (number, text) in ["one", "tw", "oo"].enumerated() {
      if number > 0 {
        times.append(.now)
        program.write("next\n")
      }
      let piece = try #require(try await probe.piece())
      #expect(piece.text == text)
      times.append(piece.receivedAt)
    }
    #expect(times == times.sorted(), "each comes after it was asked for, and before the next one is")
    #expect(try await probe.piece() == nil)
    program.killTree()
  }

  @Test func lengthAndEndOfConnectionEndBodies() async throws {
    let (first, port) = try await serve(#"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nx-a: b\r\n\r\nhello"#)
    let answer = try await HTTPProbe.exchange("POST", "/x", port: port, body: "{}")
    #expect(answer.head.reason == "Not Found")
    #expect(answer.head["X-A"] == "b")
    #expect(answer.text == "hello")
    let (second, otherPort) = try await serve(#"HTTP/1.1 200 OK\r\n\r\nto the end"#)
    #expect(try await HTTPProbe.exchange("GET", "/", port: otherPort).text == "to the end")
    first.killTree()
    second.killTree()
  }

  @Test func aBodyThatIsCutIsAnErrorAndRawReadingIsNot() async throws {
    let (program, port) = try await serve(#"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"#)
    await #expect(throws: HTTPProbeError.self) { try await HTTPProbe.exchange("GET", "/", port: port) }
    let probe = try await HTTPProbe.connect(port: port)
    try await probe.send(raw: "nonsense")
    #expect(try await probe.readUntilClosed().hasSuffix("\r\n\r\nhello"))
    program.killTree()
  }

  @Test func silenceEndsAtTheLimit() async throws {
    let (program, port) = try await serve("")
    program.signal(19)
    let probe = try await HTTPProbe.connect(port: port)
    try await probe.send("GET", "/")
    await #expect(throws: HTTPProbeError.self) { try await probe.head(within: .milliseconds(50)) }
  }
}
