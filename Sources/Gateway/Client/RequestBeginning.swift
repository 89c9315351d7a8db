import NIOCore
import OllamaAPI

/// Remembers how a request began until its head is whole: one that breaks the rules, or doesn't come to its end, is
/// answered in the dialect of its path all the same.
///
/// Stands before the decoder, which tells nothing of a head that it can't read. Of requests that are sent one right
/// after the other it sees the first alone; the others get Ollama's dialect then.
final class RequestBeginning: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  /// Enough for a method and the part of a path that tells the dialect.
  private static let length = 64

  /// Whether what comes next is a head, or the rest of one.
  var isExpected = true {
    didSet { if isExpected != oldValue { line = [] } }
  }
  private var line: [UInt8] = []

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if isExpected, line.count < Self.length {
      line += unwrapInboundIn(data).readableBytesView.prefix(Self.length - line.count)
    }
    context.fireChannelRead(data)
  }

  var dialect: Dialect {
    let words = line.split(separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
    return words.count > 1 ? Dialect.of(target: String(decoding: words[1], as: UTF8.self)) : .ollama
  }
}
