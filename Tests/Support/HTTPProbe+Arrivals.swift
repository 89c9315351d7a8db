import NIOCore
import Synchronization

/// Bytes of a connection with the time at which each lot came, until somebody asks for them.
final class Arrivals: Sendable {
  struct Arrival: Sendable {
    let bytes: [UInt8]
    let time: ContinuousClock.Instant
  }

  private struct State {
    var waiting: [Arrival] = []
    var reader: EventLoopPromise<Arrival?>?
    var isClosed = false
  }
  private let state = Mutex(State())

  func add(_ bytes: [UInt8]) {
    let arrival = Arrival(bytes: bytes, time: .now)
    let reader = state.withLock { state in
      if state.reader == nil { state.waiting.append(arrival) }
      return state.reader.take()
    }
    reader?.succeed(arrival)
  }

  func close() {
    let reader = state.withLock { state in
      state.isClosed = true
      return state.reader.take()
    }
    reader?.succeed(nil)
  }

  /// The next lot; nil when the connection is closed and all has been read.
  func next(within limit: Duration, on eventLoop: any EventLoop) async throws -> Arrival? {
    let promise = eventLoop.makePromise(of: Arrival?.self)
    let atOnce: Arrival?? = state.withLock { state in
      if !state.waiting.isEmpty { return .some(state.waiting.removeFirst()) }
      if state.isClosed { return .some(nil) }
      state.reader = promise
      return nil
    }
    if let atOnce {
      promise.succeed(atOnce)
    } else {
      let timer = eventLoop.scheduleTask(in: TimeAmount(limit)) {
        self.state.withLock { $0.reader.take() }?.fail(HTTPProbeError("nothing came within \(limit)"))
      }
      promise.futureResult.whenComplete { _ in timer.cancel() }
    }
    return try await promise.futureResult.get()
  }
}

final class ArrivalHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let arrivals: Arrivals

  init(_ arrivals: Arrivals) { self.arrivals = arrivals }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    arrivals.add(Array(unwrapInboundIn(data).readableBytesView))
  }

  func channelInactive(context: ChannelHandlerContext) { arrivals.close() }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event { arrivals.close() }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
