package import NIOCore

/// One request of the pool's own to an instance: a probe, a preload.
package struct UpstreamRequest {
  /// The answer's status and whole body, or what prevented it. Always completes within the time given.
  package let answer: EventLoopFuture<UpstreamAnswer>

  /// Sends the request over a connection of its own. On the loop.
  package static func send(
    _ method: String, _ path: String, body: [UInt8] = [], to address: SocketAddress, within time: TimeAmount,
    bodyLimit: Int = 1 << 20, on loop: any EventLoop
  ) -> UpstreamRequest { UpstreamRequest(answer: loop.makeFailedFuture(ChannelError.operationUnsupported)) }

  /// Closes the connection, which also ends what the instance was doing; the answer fails.
  package func cancel() {}
}

package struct UpstreamAnswer: Sendable {
  package let status: Int
  package let body: [UInt8]
}
