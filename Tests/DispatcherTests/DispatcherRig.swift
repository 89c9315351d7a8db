import ControlInterface
import Foundation
import NIOCore
import NIOPosix
import PoolConfiguration
import PoolCore
import Synchronization
import Systemd
import TestSupport
import Testing
import Varlink

@testable import Dispatcher

/// A real dispatcher on ports of its own choosing, with a control connection as the supervisor would have it.
struct DispatcherRig {
  let daemon: DispatcherDaemon
  let port: Int
  let supervisor: VarlinkClient
  let socket: String
  private let journalFile: String
  private let journal: Journal

  /// Runs `body` with a dispatcher, and closes it whatever happens.
  static func run(
    _ change: (inout Settings) -> Void = { _ in }, options adjust: (inout DispatcherOptions) -> Void = { _ in },
    _ body: (DispatcherRig) async throws -> Void
  ) async throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write("", to: "journal")
    let handle = try #require(FileHandle(forWritingAtPath: file))
    let journal = Journal(identifier: "ollama-pool-dispatcher", destination: .text(descriptor: handle.fileDescriptor))
    var settings = Settings()
    settings.listen = [.loopback(port: 0)]
    settings.metricsListen = .loopback(port: 0)
    change(&settings)
    var options = DispatcherOptions(
      settings: settings, controlSocket: folder.path(to: "control"), journal: journal, version: "1.2.3")
    adjust(&options)
    let daemon = try await DispatcherDaemon.start(options)
    do {
      let rig = DispatcherRig(
        daemon: daemon, port: try Self.port(of: daemon.endpoints[0]),
        supervisor: try await .connect(to: options.controlSocket, on: MultiThreadedEventLoopGroup.singleton),
        socket: options.controlSocket, journalFile: file, journal: journal)
      try await body(rig)
      await rig.supervisor.close()
    } catch {
      await daemon.close()
      throw error
    }
    await daemon.close()
    journal.flush()
    withExtendedLifetime((folder, handle)) {}
  }

  static func port(of url: String) throws -> Int { try #require(URLComponents(string: url)?.port) }

  // MARK: Control

  func client() async throws -> VarlinkClient {
    try await VarlinkClient.connect(to: socket, on: MultiThreadedEventLoopGroup.singleton)
  }

  /// One instance as the supervisor would want it.
  static func wanted(
    _ instance: FakeOllama, slots: Int = 1, role: WantedInstance.Role = .core, invocation: String = "i1",
    models: [String] = []
  ) -> WantedInstance {
    WantedInstance(
      id: InstanceID(instance.name), invocation: InvocationID(invocation), address: instance.address,
      gpus: ["GPU-\(instance.name)"], slots: slots, models: models, role: role, reason: "a test")
  }

  func setInstances(_ wanted: [WantedInstance], over client: VarlinkClient? = nil) async throws {
    try await (client ?? supervisor).order(
      .setInstances, DispatcherCalls.SetInstances(instances: wanted.map(DispatcherTypes.Instance.init)))
  }

  /// Registers instances and waits until all are healthy.
  func use(_ instances: FakeOllama...) async throws {
    try await setInstances(instances.map { Self.wanted($0) })
    try await waitForCapacity(instances.count)
    // Which instance a request goes to depends on what the dispatcher has been told of each.
    let telling = instances.filter(\.tellsWhatItHolds).count
    try await wait("\(telling) instances have told what they hold") {
      $0.instances.count { $0.loaded != nil } >= telling
    }
  }

  func retire(_ id: String, invocation: String = "i1", over client: VarlinkClient? = nil) async throws
    -> DispatcherTypes.RetireAnswer
  {
    try await (client ?? supervisor).call(
      DispatcherInterface.Method.retireInstance.qualified,
      DispatcherCalls.RetireInstance(id: id, invocation: invocation), as: DispatcherCalls.RetireInstanceReply.self
    ).answer
  }

  func status() async throws -> DispatcherCalls.GetStatusReply {
    try await supervisor.call(DispatcherInterface.Method.getStatus.qualified, timeout: .seconds(30))
  }

  func queue() async throws -> DispatcherTypes.Queue { try await status().queue }

  func requests() async throws -> [DispatcherTypes.Request] {
    try await supervisor.call(
      DispatcherInterface.Method.listRequests.qualified, as: DispatcherCalls.ListRequestsReply.self
    ).requests
  }

  @discardableResult
  func wait(
    within limit: Duration = .seconds(30), _ expectation: String, _ condition: (DispatcherTypes.Queue) -> Bool
  ) async throws -> DispatcherTypes.Queue {
    try await eventualValue(within: limit, expectation) {
      let queue = try await queue()
      return condition(queue) ? queue : nil
    }
  }

  func waitForCapacity(_ slots: Int) async throws {
    try await wait("max_concurrent is \(slots)") { $0.maxConcurrent == slots }
  }

  func waitForDepth(_ depth: Int) async throws { try await wait("the depth is \(depth)") { $0.depth == depth } }

  /// All pushes of a subscription, as they come.
  func watchQueue() async throws -> Pushes<DispatcherCalls.WatchQueueReply> {
    try await Pushes(try await client(), .watchQueue)
  }

  func watchCapacity() async throws -> Pushes<DispatcherCalls.WatchCapacityReply> {
    try await Pushes(try await client(), .watchCapacity)
  }

  // MARK: Clients

  func connect() async throws -> HTTPProbe { try await HTTPProbe.connect(port: port) }

  /// Sends a request of the native dialect on a connection of its own.
  func generate(_ prompt: String = "hello", model: String = "m", stream: Bool = true) async throws -> HTTPProbe {
    let probe = try await connect()
    try await probe.send(
      "POST", "/api/generate", body: #"{"model":"\#(model)","prompt":"\#(prompt)","stream":\#(stream)}"#)
    return probe
  }

  /// A whole exchange of the native dialect.
  func get(_ path: String) async throws -> HTTPProbe.Answer { try await HTTPProbe.exchange("GET", path, port: port) }

  /// An answer of the metrics' listener.
  func console(_ path: String) async throws -> HTTPProbe.Answer {
    let url = try #require(daemon.metricsEndpoint)
    return try await HTTPProbe.exchange("GET", path, port: try Self.port(of: url))
  }

  /// The value of a metric, by its name with labels as they are written.
  func metric(_ name: String) async throws -> Double {
    let line = try await console("/metrics").text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
    return try #require(line.flatMap { Double($0.dropFirst(name.count + 1)) }, "no metric \(name)")
  }

  // MARK: Journal

  func waitForJournal(_ text: String) async throws {
    do {
      try await eventually("the journal says: \(text)") { journalText.contains(text) }
    } catch {
      Issue.record("the journal says: \(journalText)")
      throw error
    }
  }

  var journalText: String {
    journal.flush()
    return (try? String(contentsOfFile: journalFile, encoding: .utf8)) ?? ""
  }
}

extension VarlinkClient {
  /// A call that answers nothing.
  func order(_ method: DispatcherInterface.Method, _ parameters: some Encodable = NoParameters()) async throws {
    _ = try await call(method.qualified, parameters, as: NoParameters.self, timeout: .seconds(30))
  }
}

/// What a subscription has brought so far.
final class Pushes<Reply: Decodable & Sendable>: Sendable {
  private let received: Received
  private let task: Task<Void, Never>

  private final class Received: Sendable { let all = Mutex<[Reply]>([]) }

  init(_ client: VarlinkClient, _ method: DispatcherInterface.Method) async throws {
    let replies = try await client.subscribe(method.qualified, as: Reply.self)
    let received = Received()
    self.received = received
    task = Task {
      var iterator = replies.makeAsyncIterator()
      while let reply = try? await iterator.next() { received.all.withLock { $0.append(reply) } }
    }
  }

  deinit { task.cancel() }

  var all: [Reply] { received.all.withLock { $0 } }

  func wait(_ expectation: String, _ condition: ([Reply]) -> Bool) async throws {
    do {
      try await eventually(expectation) { condition(all) }
    } catch {
      Issue.record("the last pushes were \(all.suffix(5))")
      throw error
    }
  }
}

/// The three dialects in which a pool's own errors come, with a request for each that streams.
enum Spoken: String, CaseIterable {
  case ollama, openAI, anthropic

  var path: String {
    switch self {
    case .ollama: "/api/chat"
    case .openAI: "/v1/chat/completions"
    case .anthropic: "/v1/messages"
    }
  }

  var body: String { #"{"model":"m","messages":[{"role":"user","content":"hello"}],"stream":true,"max_tokens":9}"# }

  var streamType: String { self == .ollama ? "application/x-ndjson" : "text/event-stream" }

  /// The beginning of an answer.
  var firstChunk: String {
    switch self {
    case .ollama: #"{"message":{"content":"he"},"done":false}"# + "\n"
    case .openAI: #"data: {"choices":[{"delta":{"content":"he"}}]}"# + "\n\n"
    case .anthropic: "event: message_start\ndata: {}\n\n"
    }
  }

  /// The error's message in an answer's body; nil where it has not this dialect's shape.
  func errorMessage(_ text: String) -> String? {
    guard let object = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] else { return nil }
    switch self {
    case .ollama: return object["error"] as? String
    case .openAI: return (object["error"] as? [String: Any])?["message"] as? String
    case .anthropic:
      guard object["type"] as? String == "error" else { return nil }
      return (object["error"] as? [String: Any])?["message"] as? String
    }
  }

  /// The message of the error that ends a stream.
  func errorMessage(endOf stream: String) -> String? {
    let lines = stream.split(separator: "\n").map(String.init)
    guard let last = lines.last else { return nil }
    switch self {
    case .ollama: return errorMessage(last)
    case .openAI, .anthropic:
      if self == .anthropic, !lines.dropLast().reversed().starts(with: ["event: error"]) { return nil }
      guard last.hasPrefix("data: ") else { return nil }
      return errorMessage(String(last.dropFirst(6)))
    }
  }
}
