import Glibc
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite("Listening")
struct ListeningTests {
  private func status(_ probe: HTTPProbe, host: String) async throws -> Int {
    try await probe.send("GET", "/", headers: [("Host", host)])
    return try await probe.answer().status
  }

  private let answering: @Sendable (RecordingDelegate) -> Void = { delegate in
    delegate.onArrival = { $0.respond(status: 200, headers: [], body: []) }
  }

  @Test("beyond loopback any Host is answered, on loopback only its own names")
  func hosts() async throws {
    try await GatewayRig.run { rig in
      try await rig.set(answering)
      let anywhere = try SocketAddress(ipAddress: "0.0.0.0", port: 0)
      let open = try await rig.listen { $0.listen(on: anywhere) }
      let outside = try await HTTPProbe.connect(port: try #require(open.port))
      #expect(try await status(outside, host: "gpu.example.com") == 200)
      let inside = try await rig.connect()
      #expect(try await status(inside, host: "gpu.example.com") == 403)
      #expect(try await status(inside, host: "rig:11434") == 200)
      #expect(try await status(inside, host: "192.168.3.4") == 200)
      #expect(try await rig.onLoop { gateway, _ in gateway.addresses.count } == 2)
      await outside.close()
    }
  }

  @Test("takes over an inherited socket, and knows from it whether it is on loopback")
  func inherited() async throws {
    try await GatewayRig.run { rig in
      try await rig.set(answering)
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      let loopback = try SocketAddress(ipAddress: "127.0.0.1", port: 0)
      let bound = loopback.withSockAddr { bind(descriptor, $0, socklen_t($1)) }
      #expect(bound == 0 && Glibc.listen(descriptor, 16) == 0)
      // Family, port and address, of two, two and four bytes.
      var name = [UInt8](repeating: 0, count: 16)
      var length = socklen_t(name.count)
      name.withUnsafeMutableBytes { bytes in
        bytes.withMemoryRebound(to: sockaddr.self) { _ = getsockname(descriptor, $0.baseAddress, &length) }
      }
      let port = Int(name[2]) << 8 | Int(name[3])
      // A client that came before the gateway waits in the socket.
      let early = try await HTTPProbe.connect(port: port)
      let listening = try await rig.listen { $0.listen(inherited: descriptor) }
      #expect(listening.port == port)
      #expect(try await status(early, host: "localhost") == 200)
      #expect(try await status(early, host: "gpu.example.com") == 403)
      await early.close()
    }
  }

  @Test("says what is wrong when the port is taken")
  func taken() async throws {
    try await GatewayRig.run { rig in
      let same = try SocketAddress(ipAddress: "127.0.0.1", port: rig.port)
      await #expect(throws: IOError.self) { try await rig.listen { $0.listen(on: same) } }
    }
  }
}
