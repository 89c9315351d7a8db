import Glibc
import NIOCore
import NIOEmbedded
import Testing

@testable import Accepting

/// With a made-up channel: libdispatch ends a process that really has no descriptors.
@Suite struct AcceptPauseTests {
  private let channel = EmbeddedChannel(handler: AcceptPause())

  private var isReading: Bool {
    let last = channel.options.last { $0.option is ChannelOptions.Types.AutoReadOption }
    return last?.value as? Bool ?? true
  }

  private func fail(_ code: CInt) { channel.pipeline.fireErrorCaught(IOError(errnoCode: code, reason: "accept")) }

  @Test("without descriptors or memory a listener pauses, and goes on by itself", arguments: [EMFILE, ENFILE, ENOBUFS])
  func pauses(code: CInt) {
    fail(code)
    #expect(!isReading)
    channel.embeddedEventLoop.advanceTime(by: AcceptPause.pause - .nanoseconds(1))
    #expect(!isReading)
    channel.embeddedEventLoop.advanceTime(by: .nanoseconds(1))
    #expect(isReading)
    // And again, for as long as there are none.
    fail(code)
    #expect(!isReading)
    channel.embeddedEventLoop.advanceTime(by: AcceptPause.pause)
    #expect(isReading)
  }

  @Test func `a client that has gone before it was accepted is no reason to pause`() {
    fail(ECONNABORTED)
    #expect(isReading)
  }

  @Test func `others hear of the error, too`() {
    fail(EMFILE)
    #expect(throws: IOError.self) { try channel.throwIfErrorCaught() }
  }
}
