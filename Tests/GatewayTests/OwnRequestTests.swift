import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite("A question of the pool's own")
struct OwnRequestTests {
  private static let half = #"{"message":{"content":"half"},"done":false}"# + "\n"
  private static let end = #"{"message":{"content":""},"done":true}"# + "\n"
  private static let head = RelayTests.head("application/x-ndjson")

  private static func answer(_ upstream: FakeConnection) async throws {
    _ = try await upstream.request()
    try await upstream.send(head + RelayTests.chunk(half) + RelayTests.chunk(end) + "0\r\n\r\n")
  }

  @Test("has its body made once it has a slot, and gets the content of the answer as it comes")
  func served() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run { rig in
      let question = try await rig.ask()
      let known = try await question.onLoop { exchange, reader in
        #expect(reader.asked.isEmpty && exchange.wantsStream)
        return (exchange.model, exchange.questionTokens)
      }
      #expect(known == ("m", 100), "before there is a body")
      try await question.relay(to: instance)
      let address = try instance.address
      #expect(try await question.onLoop { $1.asked.map(\.address) == [address] })
      #expect(instance.connectionCount == 0, "there is nothing to be sent")
      try await question.give()
      let upstream = try await instance.connection()
      let request = try await upstream.request()
      #expect(request.hasPrefix("POST /api/chat HTTP/1.1\r\n") && request.hasSuffix("\r\n\r\n\(OwnQuestion.body)"))
      #expect(request.contains("Content-Type: application/json\r\n"))
      #expect(try await rig.heldBytes == OwnQuestion.body.utf8.count)

      try await upstream.send(Self.head)
      try await question.wait(for: .began(200))
      #expect(try await rig.heldBytes == 0)
      try await upstream.send(RelayTests.chunk(Self.half))
      try await question.waitForContent("half")
      try await upstream.send(RelayTests.chunk(Self.end) + "0\r\n\r\n")
      try await rig.waitForOutcomes([.served])
      #expect(try await question.content == Self.half + Self.end)
      #expect(try await question.events == [.began(200), .continued, .ended(.served, error: nil)])
      #expect(try await question.onLoop { exchange, _ in exchange.answerTokens } == 2)
    }
  }

  /// How far a question has come.
  enum Stage: CaseIterable, Sendable {
    case waiting, slotGiven, connecting, sent, headReceived, midAnswer, ended

    var hasAttempt: Bool { ![.waiting, .ended].contains(self) }
    /// Whether its reader has had a part of the answer.
    var hasBegun: Bool { [.headReceived, .midAnswer].contains(self) }
    var isAtInstance: Bool { [.sent, .headReceived, .midAnswer].contains(self) }
  }

  /// Asks, and goes on to a stage.
  private static func ask(_ rig: GatewayRig, _ instance: FakeInstance, upTo stage: Stage) async throws -> OwnQuestion {
    let question = try await rig.ask()
    guard stage != .waiting else { return question }
    try await question.relay(to: instance)
    guard stage != .slotGiven else { return question }
    // What comes next is done in the same turn of the loop, before there is a connection.
    guard stage != .connecting else { return question }
    try await question.give()
    let upstream = try await instance.connection()
    _ = try await upstream.request()
    guard stage != .sent else { return question }
    try await upstream.send(head)
    try await question.wait(for: .began(200))
    guard stage != .headReceived else { return question }
    try await upstream.send(RelayTests.chunk(half))
    try await question.waitForContent("half")
    guard stage != .midAnswer else { return question }
    try await upstream.send(RelayTests.chunk(end) + "0\r\n\r\n")
    try await rig.waitForOutcomes([.served])
    return question
  }

  /// Gives the body, where that is due, and does something at once.
  private static func act<Value: Sendable>(
    _ question: OwnQuestion, _ stage: Stage, _ body: @Sendable @escaping (Exchange) -> Value
  ) async throws -> Value {
    try await question.onLoop { exchange, reader in
      if stage == .connecting { reader.asked[0].done(.success(ByteBuffer(string: OwnQuestion.body))) }
      return body(exchange)
    }
  }

  @Test("can be withdrawn at any time, and is then served anew elsewhere", arguments: Stage.allCases)
  func withdrawn(stage: Stage) async throws {
    let (first, second) = (try await FakeInstance.start(), try await FakeInstance.start())
    try await GatewayRig.run { rig in
      let question = try await Self.ask(rig, first, upTo: stage)
      #expect(try await Self.act(question, stage) { $0.withdraw() } == stage.hasAttempt)
      #expect(try await question.events.contains(.voided) == stage.hasBegun)
      if stage.isAtInstance { try await first.connection().waitUntilClosed() }
      guard stage != .ended else { return }
      #expect(try await question.onLoop { exchange, _ in exchange.isOpen && !exchange.hasBegun })

      try await question.relay(to: second)
      // A body that comes late is for the attempt that is no more.
      if stage == .slotGiven { try await question.give("late") }
      try await question.give(#"{"model":"m","again":1}"#, number: stage.hasAttempt ? 1 : 0)
      let upstream = try await second.connection()
      #expect(try await upstream.request().hasSuffix(#"{"model":"m","again":1}"#))
      try await Self.answer(upstream)
      try await rig.waitForOutcomes([.served])
      #expect(try await question.content == Self.half + Self.end)
      #expect(try await question.events.suffix(3) == [.began(200), .continued, .ended(.served, error: nil)])
      if stage == .slotGiven { #expect(first.connectionCount == 0) }
    }
  }

  @Test("can be left at any time, and is heard of no more", arguments: Stage.allCases)
  func left(stage: Stage) async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run { rig in
      let question = try await Self.ask(rig, instance, upTo: stage)
      try await Self.act(question, stage) { $0.leave() }
      let outcome = stage == .ended ? ExchangeOutcome.served : .cancelled
      try await rig.waitForOutcomes([outcome])
      if stage == .slotGiven { try await question.give() }
      if stage.isAtInstance { try await instance.connection().waitUntilClosed() }
      try await question.relay(to: instance)
      #expect(try await question.events.last == .ended(outcome, error: nil))
      #expect(try await question.onLoop { exchange, _ in exchange.withdraw() } == false)
      #expect(try await rig.heldBytes == 0)
      try await question.onLoop { $1.forgetAsked() }
      try await rig.checkExchangesAreFreed()
    }
  }

  @Test(
    "may be left or withdrawn from within what its reader is told", arguments: [true, false],
    [
      RecordingReader.Event.began(200), .continued,
    ])
  func fromWithin(leaves: Bool, event: RecordingReader.Event) async throws {
    let (first, second) = (try await FakeInstance.start(), try await FakeInstance.start())
    let address = try second.address
    try await GatewayRig.run { rig in
      let question = try await rig.ask { reader in
        reader.onEvent = { told, exchange in
          guard told == event, let exchange else { return }
          reader.onEvent = { _, _ in }
          if leaves { return exchange.leave() }
          #expect(exchange.withdraw())
          exchange.relay(to: address)
        }
      }
      try await question.relay(to: first)
      try await question.give()
      try await Self.answer(first.connection())
      if leaves {
        try await rig.waitForOutcomes([.cancelled])
      } else {
        try await question.give(number: 1)
        try await Self.answer(second.connection())
        try await rig.waitForOutcomes([.served])
        #expect(try await question.content == Self.half + Self.end)
      }
      try await first.connection().waitUntilClosed()
      #expect(try await question.events.count { if case .ended = $0 { true } else { false } } == 1)
    }
  }

  @Test("whose instance can't be reached goes elsewhere, with a body of its own")
  func unreachable() async throws {
    let (gone, instance) = (try await FakeInstance.start(), try await FakeInstance.start())
    let (nowhere, address) = (try gone.address, try instance.address)
    try await GatewayRig.run { rig in
      try await rig.set { delegate in
        delegate.onFailure = { exchange, _ in
          exchange.relay(to: address)
          return .wait
        }
      }
      try await gone.stop()
      let question = try await rig.ask()
      try await question.relay(to: nowhere)
      try await question.give("{}")
      try await question.give(number: 1)
      let upstream = try await instance.connection()
      #expect(try await upstream.request().hasSuffix(OwnQuestion.body))
      try await Self.answer(upstream)
      try await rig.waitForOutcomes([.served])
      #expect(try await question.events == [.began(200), .continued, .ended(.served, error: nil)])
    }
  }

  @Test("that gets no body ends with the reason, and nothing goes out")
  func noBody() async throws {
    let instance = try await FakeInstance.start()
    var limits = GatewayLimits()
    limits.bodies = 100
    try await GatewayRig.run(limits: limits) { rig in
      let question = try await rig.ask()
      try await question.relay(to: instance)
      try await question.onLoop { _, reader in reader.asked[0].done(.failure(.testRefusal)) }
      let refused = ExchangeOutcome.failed(.refused(code: "queue_full"))
      try await rig.waitForOutcomes([refused])
      #expect(try await question.events == [.ended(refused, error: "queue_full")])
      #expect(instance.connectionCount == 0)
    }
    try await GatewayRig.run(limits: limits) { rig in
      let question = try await rig.ask()
      try await question.relay(to: instance)
      try await question.give(String(repeating: " ", count: 101))
      try await rig.waitForOutcomes([.failed(.refused(code: "memory_full"))])
      #expect(try await question.events.last == .ended(.failed(.refused(code: "memory_full")), error: "memory_full"))
      #expect(instance.connectionCount == 0)
    }
  }

  /// What an instance sends before it closes, and what the reader gets.
  struct Failure: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let sent: String
    let events: [RecordingReader.Event]
  }

  private static let failures = [
    Failure(
      testDescription: "nothing", sent: "",
      events: [.ended(.failed(.instanceLost), error: "instance_failed")]),
    Failure(
      testDescription: "an error of its own",
      sent: "HTTP/1.1 404 X\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"error\":\"no\"}",
      events: [.began(404), .continued, .ended(.served, error: nil)]),
    Failure(
      testDescription: "a failure of its own",
      sent: "HTTP/1.1 500 X\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"error\":\"no\"}",
      events: [.began(500), .continued, .ended(.failed(.status(500)), error: nil)]),
    Failure(
      testDescription: "half a stream", sent: head + RelayTests.chunk(half),
      events: [.began(200), .continued, .ended(.failed(.instanceLost), error: "instance_lost")]),
    Failure(
      testDescription: "a stream without its end", sent: head + RelayTests.chunk(half) + "0\r\n\r\n",
      events: [.began(200), .continued, .ended(.failed(.truncated), error: "truncated")]),
    Failure(
      testDescription: "an error within the stream",
      sent: head + RelayTests.chunk(half) + RelayTests.chunk("{\"error\":\"no\"}\n") + "0\r\n\r\n",
      events: [.began(200), .continued, .ended(.failed(.reportedInStream), error: nil)]),
  ]

  @Test("ends with what was wrong with its answer", arguments: failures)
  func failed(failure: Failure) async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run { rig in
      let question = try await rig.ask()
      try await question.relay(to: instance)
      try await question.give()
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.send(failure.sent)
      await upstream.close()
      try await eventually("it ends") {
        if case .ended = try await question.events.last { true } else { false }
      }
      #expect(try await question.events == failure.events)
    }
  }

  @Test("that the delegate ends in the middle of its answer is told why")
  func refusedInTheMiddle() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run { rig in
      let question = try await Self.ask(rig, instance, upTo: .midAnswer)
      try await question.onLoop { exchange, _ in exchange.refuse(.testRefusal) }
      try await instance.connection().waitUntilClosed()
      let refused = ExchangeOutcome.failed(.refused(code: "queue_full"))
      try await rig.waitForOutcomes([refused])
      #expect(try await question.events.last == .ended(refused, error: "queue_full"))
    }
  }
}
