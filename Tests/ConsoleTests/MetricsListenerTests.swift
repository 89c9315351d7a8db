import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import Console

@Suite(.timeLimit(.minutes(1)))
struct MetricsListenerTests {
  @Test func metricsAreServedAsPrometheusTakesThem() async throws {
    try await withListener { port, _ in
      let answer = try await HTTPProbe.exchange("GET", "/metrics?x=1", port: port)
      #expect(answer.status == 200)
      #expect(answer.head["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
      #expect(answer.text == "a 1\n")
    }
  }

  @Test func healthzIsAlwaysGoodAndReadyzSaysWhyItIsNot() async throws {
    try await withListener { port, readiness in
      #expect(try await HTTPProbe.exchange("GET", "/readyz", port: port).status == 200)
      readiness.value.withLock { $0 = .notReady(because: "nothing is healthy") }
      let answer = try await HTTPProbe.exchange("GET", "/readyz", port: port)
      #expect(answer.status == 503)
      #expect(answer.text == "not ready: nothing is healthy\n")
      #expect(try await HTTPProbe.exchange("GET", "/healthz", port: port).status == 200)
    }
  }

  @Test func whatIsNotThereAndWhatIsNotReadingIsRefused() async throws {
    try await withListener { port, _ in
      #expect(try await HTTPProbe.exchange("GET", "/", port: port).status == 404)
      let answer = try await HTTPProbe.exchange("POST", "/metrics", port: port, body: "x")
      #expect(answer.status == 405)
      #expect(answer.head["Allow"] == "GET")
      let head = try await HTTPProbe.exchange("HEAD", "/metrics", port: port)
      #expect(head.status == 405)
      #expect(head.text.isEmpty)
    }
  }

  @Test func whatIsNoHTTPIsRefusedAndClosed() async throws {
    try await withListener { port, _ in
      let probe = try await HTTPProbe.connect(port: port)
      try await probe.send(raw: "HELLO\r\n\r\n")
      #expect(try await probe.readUntilClosed().hasPrefix("HTTP/1.1 400 "))
      let long = try await HTTPProbe.connect(port: port)
      try await long.send(raw: "GET /metrics HTTP/1.1\r\nX: \(String(repeating: "x", count: 70_000))\r\n\r\n")
      #expect(try await !long.readUntilClosed().contains("200 OK"))
    }
  }

  @Test func moreConnectionsThanAllowedAreClosedAndPlaceIsMadeAgain() async throws {
    try await withListener { port, _ in
      // Connections that say nothing are closed after ten seconds, so on a slow machine it may take a second attempt.
      try await eventually(within: .seconds(60), "one too many is closed without an answer") {
        var held: [HTTPProbe] = []
        for _ in 0...MetricsListener.maximumConnections { held.append(try await HTTPProbe.connect(port: port)) }
        let rest = try await held[MetricsListener.maximumConnections].readUntilClosed(within: .seconds(5))
        for probe in held { await probe.close() }
        return rest.isEmpty
      }
      try await eventually("there is place again") {
        try await HTTPProbe.exchange("GET", "/healthz", port: port).status == 200
      }
    }
  }

  private func withListener(
    _ body: (Int, Shared) async throws -> Void
  ) async throws {
    let readiness = Shared()
    let listener = try await MetricsListener.start(
      on: try SocketAddress(ipAddress: "127.0.0.1", port: 0), loop: MultiThreadedEventLoopGroup.singleton.next(),
      source: MetricsSource(metrics: { "a 1\n" }, readiness: { readiness.value.withLock { $0 } }))
    do {
      try await body(try #require(listener.address.port), readiness)
    } catch {
      await listener.close()
      throw error
    }
    await listener.close()
  }

  private final class Shared: Sendable { let value = Mutex(Readiness.ready) }
}
