import NIOCore
import OllamaAPI
import PoolCore
import TestSupport

@testable import Gateway

/// A question of the pool's own in a gateway under test, and what its reader got.
struct OwnQuestion: Sendable {
  let rig: GatewayRig
  private let reader: NIOLoopBound<RecordingReader>

  fileprivate init(_ rig: GatewayRig, _ reader: NIOLoopBound<RecordingReader>) {
    self.rig = rig
    self.reader = reader
  }

  static let body = #"{"model":"m","stream":true}"#

  func onLoop<Value: Sendable>(
    _ body: @Sendable @escaping (Exchange, RecordingReader) throws -> Value
  ) async throws -> Value {
    let reader = reader
    return try await rig.onLoop { _, delegate in try body(delegate.arrived[0].exchange, reader.value) }
  }

  func relay(to instance: FakeInstance) async throws { try await relay(to: instance.address) }

  func relay(to address: SocketAddress) async throws {
    try await onLoop { exchange, _ in exchange.relay(to: address) }
  }

  /// Gives the body that was asked for as number `number`, from 0.
  func give(_ body: String = body, number: Int = 0) async throws {
    try await eventually("the body is asked for") { try await onLoop { $1.asked.count > number } }
    try await onLoop { $1.asked[number].done(.success(ByteBuffer(string: body))) }
  }

  var events: [RecordingReader.Event] { get async throws { try await onLoop { $1.events } } }
  /// What came of the answer that is not void.
  var content: String { get async throws { try await onLoop { $1.content } } }

  func wait(for event: RecordingReader.Event) async throws {
    try await eventually("the reader gets \(event)") { try await events.contains(event) }
  }

  func waitForContent(_ text: String) async throws {
    try await eventually("the reader gets \(text)") { try await content.contains(text) }
  }
}

extension GatewayRig {
  /// Puts a question that waits for its turn.
  func ask(prepare: @Sendable @escaping (RecordingReader) -> Void = { _ in }) async throws -> OwnQuestion {
    let loop = loop
    let reader = try await onLoop { gateway, _ in
      let reader = RecordingReader()
      prepare(reader)
      let exchange = gateway.request(
        OwnRequest(
          route: OwnRoute("POST", "/api/chat"), model: "m", streams: true, bodyBytes: 400,
          caller: Shared(wrappedValue: RecordingDelegate.caller)),
        reader: reader)
      reader.exchange = exchange
      exchange.arrive()
      return NIOLoopBound(reader, eventLoop: loop)
    }
    return OwnQuestion(self, reader)
  }
}

/// Takes an answer, and remembers in which order what came. On the gateway's loop.
final class RecordingReader: AnswerReader {
  enum Event: Equatable, Sendable {
    case began(Int), continued, voided
    case ended(ExchangeOutcome, error: String?)
  }

  private(set) var asked: [(address: SocketAddress, done: (Result<ByteBuffer, PoolError>) -> Void)] = []
  private(set) var events: [Event] = []
  private(set) var content = ""
  weak var exchange: Exchange?
  var onEvent: (Event, Exchange?) -> Void = { _, _ in }

  /// Drops what would give bodies to requests that have ended.
  func forgetAsked() { asked = [] }

  private func note(_ event: Event) {
    if event != .continued || events.last != .continued { events.append(event) }
    onEvent(event, exchange)
  }

  func requestBody(at address: SocketAddress, _ done: @escaping (Result<ByteBuffer, PoolError>) -> Void) {
    asked.append((address, done))
  }

  func answerBegan(status: Int) { note(.began(status)) }

  func answerContinued(_ content: ByteBuffer) {
    self.content += String(buffer: content)
    note(.continued)
  }

  func answerVoided() {
    content = ""
    note(.voided)
  }

  func answerEnded(_ outcome: ExchangeOutcome, _ error: PoolError?) { note(.ended(outcome, error: error?.code)) }
}
