import NIOCore
import NIOHTTP1
import NIOPosix
import OllamaAPI
import PoolCore
import TestSupport
import Testing

@testable import Gateway

/// A gateway on a loop, with a delegate that records and does as the test says.
final class GatewayRig: Sendable {
  let loop: any EventLoop
  let port: Int
  private let parts: NIOLoopBound<(gateway: Gateway, delegate: RecordingDelegate)>

  private init(loop: any EventLoop, port: Int, _ parts: NIOLoopBound<(gateway: Gateway, delegate: RecordingDelegate)>) {
    self.loop = loop
    self.port = port
    self.parts = parts
  }

  /// Runs `body` with a gateway that listens on 127.0.0.1, and checks afterwards that nothing was left over.
  static func run(
    limits: GatewayLimits = GatewayLimits(), relayingTo instance: FakeInstance? = nil,
    _ body: (GatewayRig) async throws -> Void
  ) async throws {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let address = try instance?.address
    let anyPort = try SocketAddress(ipAddress: "127.0.0.1", port: 0)
    let parts = try await loop.submit {
      let delegate = RecordingDelegate()
      if let address { delegate.onArrival = { $0.relay(to: address) } }
      let gateway = Gateway(loop: loop, delegate: delegate, limits: limits, hosts: HostRule(hostname: "rig"))
      return NIOLoopBound((gateway: gateway, delegate: delegate), eventLoop: loop)
    }.get()
    let listening = try await loop.flatSubmit { parts.value.gateway.listen(on: anyPort) }.get()
    let rig = GatewayRig(loop: loop, port: try #require(listening.port), parts)
    do {
      try await body(rig)
    } catch {
      try await rig.close()
      throw error
    }
    try await rig.close()
    try await rig.checkNothingIsLeft()
  }

  private func close() async throws { try await loop.flatSubmit { self.parts.value.gateway.close() }.get() }

  private func checkNothingIsLeft() async throws {
    try await onLoop { gateway, delegate in
      #expect(delegate.ended.map(\.id).sorted() == delegate.allArrived.sorted(), "each exchange ends once")
      #expect(gateway.heldBytes == 0)
      #expect(gateway.untakenBytes == 0)
      #expect(gateway.openConnections == 0)
      #expect(gateway.idleUpstreamConnections == 0)
    }
  }

  /// Nothing but this delegate holds an exchange that has ended.
  func checkExchangesAreFreed() async throws {
    let remaining = try await onLoop { _, delegate in NIOLoopBound(delegate.forgetExchanges(), eventLoop: self.loop) }
    try await eventually("all exchanges are freed") {
      try await loop.submit { remaining.value.allSatisfy { $0.exchange == nil } }.get()
    }
  }

  func onLoop<Value: Sendable>(_ body: @Sendable @escaping (Gateway, RecordingDelegate) throws -> Value) async throws
    -> Value
  {
    let parts = parts
    return try await loop.submit { try body(parts.value.gateway, parts.value.delegate) }.get()
  }

  /// Listens in one more place.
  func listen(
    _ open: @Sendable @escaping (Gateway) -> EventLoopFuture<SocketAddress>
  ) async throws -> SocketAddress {
    let parts = parts
    return try await loop.flatSubmit { open(parts.value.gateway) }.get()
  }

  /// What the gateway holds of requests.
  var heldBytes: Int { get async throws { try await onLoop { gateway, _ in gateway.heldBytes } } }

  func connect() async throws -> HTTPProbe { try await HTTPProbe.connect(port: port) }

  func set(_ change: @Sendable @escaping (RecordingDelegate) -> Void) async throws {
    try await onLoop { _, delegate in change(delegate) }
  }

  /// The outcomes so far, in the order of the exchanges' ends.
  var outcomes: [ExchangeOutcome] {
    get async throws { try await onLoop { _, delegate in delegate.ended.map(\.outcome) } }
  }

  func waitForOutcomes(_ expected: [ExchangeOutcome]) async throws {
    do {
      try await eventually("\(expected.count) exchanges have ended") {
        try await outcomes.count >= expected.count
      }
    } catch {
      Issue.record("\(error); so far: \(try await outcomes)")
    }
    #expect(try await outcomes == expected)
  }

  func waitForArrivals(_ count: Int) async throws {
    try await eventually("\(count) exchanges have arrived") {
      try await onLoop { _, delegate in delegate.arrived.count } >= count
    }
  }

  /// Does something with the exchange that arrived as number `number`, from 0.
  func exchange<Value: Sendable>(
    _ number: Int = 0, _ body: @Sendable @escaping (Exchange) throws -> Value
  ) async throws -> Value {
    try await waitForArrivals(number + 1)
    return try await onLoop { _, delegate in try body(delegate.arrived[number].exchange) }
  }
}

/// What the delegate saw. On the gateway's loop.
final class RecordingDelegate: GatewayDelegate {
  var onArrival: (Exchange) -> Void = { _ in }
  var onFailure: (Exchange, AttemptFailure) -> RelayVerdict = { _, _ in .passOn }
  var onFirstByte: (Exchange) -> Void = { _ in }

  private(set) var arrived: [(id: UInt64, exchange: Exchange)] = []
  private var arrivedBefore: [UInt64] = []
  private(set) var firstBytes: [UInt64] = []
  private(set) var failures: [AttemptFailure] = []
  private(set) var ended: [(id: UInt64, outcome: ExchangeOutcome)] = []
  private(set) var refusals: [GatewayRefusal] = []
  private(set) var cutOff = 0
  private(set) var lacks: [String] = []

  struct WeakExchange { weak var exchange: Exchange? }

  func forgetExchanges() -> [WeakExchange] {
    defer {
      arrivedBefore += arrived.map(\.id)
      arrived = []
    }
    return arrived.map { WeakExchange(exchange: $0.exchange) }
  }

  /// The numbers of all that arrived.
  var allArrived: [UInt64] { arrivedBefore + arrived.map(\.id) }

  func publicHost(_ headers: HTTPHeaders, from peer: SocketAddress?) -> String? { nil }

  /// Whoever comes is somebody.
  static let caller = Caller(
    proof: .local, role: .administrator, className: "standard", share: DispatchRequest.Share(user: "somebody"))
  var onAdmission: (HTTPRequestHead, Route, RequestPeer) -> Admission = { _, _, _ in .admitted(caller) }
  private(set) var caughtUp: [UInt64] = []

  func gatewayAdmits(_ head: HTTPRequestHead, _ route: Route, from peer: RequestPeer) -> Admission {
    onAdmission(head, route, peer)
  }

  var fields: (Exchange) -> [(name: String, value: String)] = { _ in [] }
  func answerFields(of exchange: Exchange) -> [(name: String, value: String)] { fields(exchange) }

  var onCaughtUp: (Exchange) -> Void = { _ in }
  func exchangeCaughtUp(_ exchange: Exchange) {
    caughtUp.append(exchange.id.number)
    onCaughtUp(exchange)
  }

  func exchangeArrived(_ exchange: Exchange) {
    arrived.append((exchange.id.number, exchange))
    onArrival(exchange)
  }

  func exchangeReceivedFirstByte(_ exchange: Exchange) {
    firstBytes.append(exchange.id.number)
    onFirstByte(exchange)
  }

  func exchangeAttemptFailed(_ exchange: Exchange, _ failure: AttemptFailure) -> RelayVerdict {
    failures.append(failure)
    return onFailure(exchange, failure)
  }

  func exchangeEnded(_ exchange: Exchange, _ outcome: ExchangeOutcome) {
    ended.append((exchange.id.number, outcome))
  }

  func gatewayRefused(_ refusal: GatewayRefusal, from peer: SocketAddress?) {
    refusals.append(refusal)
  }

  func gatewayCutOff(_ peer: SocketAddress?) { cutOff += 1 }

  func gatewayLacksConnection(problem: String) { lacks.append(problem) }
}

extension PoolError {
  static let testRefusal = PoolError(
    status: 503, code: "queue_full", message: "The queue is full.", retryAfterSeconds: 7)
}

extension Exchange {
  var connection: ClientConnection? { client as? ClientConnection }
}
