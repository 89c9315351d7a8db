import Foundation
import Gateway
import NIOCore
import NIOPosix
import PoolCore
import QueueStore
import Systemd
import TestSupport
import Testing

@testable import Dispatcher

@Suite(.timeLimit(.minutes(1)))
struct JournalTests {
  private static let facts = InstanceFacts(
    invocation: "i1", address: "127.0.0.1:11500", gpus: ["GPU-1", "GPU-2"], slots: 2, maxConcurrent: 4)
  private static let request = RequestFacts(
    id: RequestID(7), route: "POST /api/chat", model: "m:latest", instance: "gpu2", problem: "it closed the connection",
    hadBegun: true)

  private static let events: [(DispatcherEvent, JournalPriority, String, [String: String])] = [
    (
      .started(version: "1.2", endpoints: ["http://a", "http://b"], metrics: "http://m"), .notice,
      "ollama-pool 1.2 answers at http://a, http://b; metrics at http://m", ["POOL_ENDPOINT": "http://a http://b"]
    ),
    (
      .portMoved(from: "127.0.0.1:1", holder: nil, to: "127.0.0.1:2"), .warning,
      "127.0.0.1:1 is in use by another process; the pool listens on 127.0.0.1:2 instead",
      ["POOL_REASON": "another process"]
    ),
    (
      .socketUnused(name: "s"), .warning, "the inherited socket s is not used: its name is neither http nor control",
      ["POOL_REASON": "s"]
    ),
    (.reloaded(forRestart: []), .notice, "the new configuration is in force", [:]),
    (
      .reloadRefused(reason: "x"), .error, "configuration not reloaded, nothing has changed: x", ["POOL_REASON": "x"]
    ),
    (
      .supervisorConnected(processID: 3, instances: 1), .notice, "the supervisor (process 3) is here, with 1 instance",
      [:]
    ),
    (.supervisorGone, .notice, "the supervisor's connection ended; the instances stay in use as they are", [:]),
    (
      .permissionDenied(method: "SetInstances", userID: 5, processID: 6), .warning,
      "user 5 (process 6) may not call SetInstances", ["POOL_REASON": "user 5"]
    ),
    (
      .decided(.instanceRegistered("gpu2"), facts), .info,
      "gpu2 is registered at 127.0.0.1:11500, with 2 slots", ["POOL_INSTANCE": "gpu2", "POOL_GPU": "GPU-1,GPU-2"]
    ),
    (
      .decided(.instanceAnswered("gpu2", after: .milliseconds(512)), facts), .info,
      "gpu2 answers, 0.51 s after its registration", ["POOL_INSTANCE": "gpu2", "POOL_GPU": "GPU-1,GPU-2"]
    ),
    (
      .decided(.instanceReady("gpu2", after: .milliseconds(3100)), facts), .notice,
      "gpu2 takes requests; max_concurrent is now 4", ["POOL_INSTANCE": "gpu2", "POOL_GPU": "GPU-1,GPU-2"]
    ),
    (
      .decided(.instanceUnhealthy("gpu2", .unreachable(missedProbes: 3), interrupted: 1, putBack: 2), nil), .error,
      "gpu2 is unhealthy: 3 probes in a row had no answer; 1 request interrupted, 2 requests put back",
      ["POOL_INSTANCE": "gpu2", "POOL_REASON": "3 probes in a row had no answer"]
    ),
    (.decided(.instanceRecovered("gpu2"), nil), .notice, "gpu2 answers again", ["POOL_INSTANCE": "gpu2"]),
    (
      .decided(.instanceDeregistered("gpu2", interrupted: 0, putBack: 0), nil), .info, "gpu2 is deregistered",
      ["POOL_INSTANCE": "gpu2"]
    ),
    (
      .decided(.requestPutBack(RequestID(7), from: "gpu2", .status(500)), nil), .warning,
      "request 7 goes back to the queue: gpu2 failed before it answered (status 500)",
      ["POOL_REQUEST": "7", "POOL_INSTANCE": "gpu2", "POOL_REASON": "status 500"]
    ),
    (
      .decided(.drainBegan(running: 2, refused: 0, kept: 0), nil), .notice,
      "stopping: waiting for 2 requests to end", [:]
    ),
    (.decided(.drained, nil), .notice, "stopped serving: no request is left", [:]),
    (
      .requestLost(request, .failed(.instanceLost)), .error,
      "request 7 (POST /api/chat) was not served on gpu2: the instance was lost (it closed the connection)",
      [
        "POOL_REQUEST": "7", "POOL_INSTANCE": "gpu2", "POOL_MODEL": "m:latest",
        "POOL_REASON": "the instance was lost (it closed the connection)",
      ]
    ),
    (
      .requestLost(RequestFacts(id: RequestID(8), route: "POST /api/chat", hadBegun: false), .failed(.queueFull)),
      .warning, "request 8 (POST /api/chat) was not served: the queue is full",
      ["POOL_REQUEST": "8", "POOL_REASON": "the queue is full"]
    ),
    (
      .requestLost(RequestFacts(id: RequestID(8), route: "POST /api/chat", hadBegun: false), .expired), .warning,
      "request 8 (POST /api/chat) was not served: it waited longer than queue.maximum_wait allows",
      ["POOL_REQUEST": "8", "POOL_REASON": "it waited longer than queue.maximum_wait allows"]
    ),
    (
      .requestLost(
        RequestFacts(id: RequestID(8), route: "POST /api/chat", user: "shop", hadBegun: false), .failed(.rateLimited)),
      .info,
      "request 8 (POST /api/chat) was not served: its user has made as many requests within an hour as the class allows",
      [
        "POOL_REQUEST": "8", "POOL_USER": "shop",
        "POOL_REASON": "its user has made as many requests within an hour as the class allows",
      ]
    ),
    (
      .requestMoved(request, priority: 0, byUserID: 5), .info,
      "request 7 (POST /api/chat) was moved to priority 0 by user 5",
      ["POOL_REQUEST": "7", "POOL_INSTANCE": "gpu2", "POOL_MODEL": "m:latest", "POOL_REASON": "moved by user 5"]
    ),
    (
      .keyAdded(KeyFacts(id: "1f", name: "shop", role: .user, className: "free"), byUserID: 0), .notice,
      "user 0 has made the API key shop (1f), of the class free",
      ["POOL_USER": "shop", "POOL_REASON": "made by user 0"]
    ),
    (
      .keyRevoked(KeyFacts(id: "1f", name: "shop", role: .administrator, className: "free"), byUserID: 990), .notice,
      "user 990 has revoked the API key shop (1f)", ["POOL_USER": "shop", "POOL_REASON": "revoked by user 990"]
    ),
    (
      .sourcesFailed(problem: "there is no index"), .warning,
      "questions are answered without sources, or with fewer: there is no index",
      ["POOL_REASON": "there is no index"]
    ),
    (
      .storeFailed(problem: "the disk is full"), .error,
      "what was to be kept could not be written down: the disk is full", ["POOL_REASON": "the disk is full"]
    ),
    (
      .noRoom(.memoryFull, client: "10.0.0.7"), .warning,
      "a client at 10.0.0.7 was refused: what is held of requests, or of answers that nobody takes, fills the memory meant for it",
      ["POOL_REASON": "what is held of requests, or of answers that nobody takes, fills the memory meant for it"]
    ),
    (
      .noRoom(.pipelineFull, client: "10.0.0.7"), .warning,
      "a client at 10.0.0.7 was refused: it sent more requests behind one another than are kept for a connection",
      ["POOL_REASON": "it sent more requests behind one another than are kept for a connection"]
    ),
    (
      .connectionLacked(problem: "no connection: too many open files"), .warning,
      "the dispatcher lacks something of its own to reach an instance, and tries again: no connection: too many open "
        + "files", ["POOL_REASON": "no connection: too many open files"]
    ),
    (
      .requestLost(RequestFacts(id: RequestID(8), route: "POST /api/chat", hadBegun: false), .failed(.modelNotServed)),
      .info, "request 8 (POST /api/chat) was not served: every instance is reserved for other models",
      ["POOL_REQUEST": "8", "POOL_REASON": "every instance is reserved for other models"]
    ),
    (
      .modelReloaded(
        ModelReload(
          model: "m:latest", instance: "gpu2", from: RunnerOptions(), to: RunnerOptions(contextLength: 8192), at: .zero,
          client: "10.0.0.7")), .notice,
      "gpu2 loaded m:latest again, with num_ctx 8192 in place of the defaults: a client at 10.0.0.7 asked for that",
      [
        "POOL_INSTANCE": "gpu2", "POOL_MODEL": "m:latest",
        "POOL_REASON": "the defaults → num_ctx 8192, asked for by 10.0.0.7",
      ]
    ),
    (
      .decided(.preloadEvicted("gpu2", model: "m"), nil), .warning,
      "gpu2 no longer holds m in memory; it is loaded again", ["POOL_INSTANCE": "gpu2", "POOL_MODEL": "m"]
    ),
    (
      .decided(.preloadFailed("gpu2", model: "m", message: "out of memory"), nil), .error,
      "gpu2 could not load m again, and tries later: out of memory",
      ["POOL_INSTANCE": "gpu2", "POOL_MODEL": "m", "POOL_REASON": "out of memory"]
    ),
    (
      .decided(.preloadPartlyOnGPU("gpu2", LoadedModel(name: "m", size: 6 << 30, sizeOnGPU: 2 << 30)), nil), .warning,
      "gpu2 holds m, but only 2048 MiB of 6144 MiB are on the GPU",
      ["POOL_INSTANCE": "gpu2", "POOL_MODEL": "m", "POOL_REASON": "2048 MiB of 6144 MiB are on the GPU"]
    ),
    (
      .requestCancelled(request, byUserID: 0), .info, "request 7 (POST /api/chat) was cancelled by user 0",
      [
        "POOL_REQUEST": "7", "POOL_INSTANCE": "gpu2", "POOL_MODEL": "m:latest",
        "POOL_REASON": "cancelled by user 0",
      ]
    ),
  ]

  @Test func eachEventIsAnEntryWithItsWordsItsUrgencyAndItsFields() {
    for (event, priority, message, fields) in Self.events {
      let entry = event.entry
      #expect(entry.message == message)
      #expect(entry.priority == priority, "\(message)")
      #expect(entry.messageID == event.kind.rawValue)
      #expect(Dictionary(entry.fields.map { ($0.name, $0.value) }) { $1 } == fields, "\(message)")
    }
    #expect(Set(Self.events.map(\.0.kind)) == Set(DispatcherEvent.Kind.allCases), "every kind has an example")
  }

  // MARK: Repetitions

  @Test func aStormOfFailuresIsOneEntryAndASummaryEachTenSeconds() throws {
    try withJournal { journal, lines in
      func fail(_ number: UInt64, at seconds: Int64) {
        var request = Self.request
        request.id = RequestID(number)
        journal.tell(.requestLost(request, .failed(.instanceLost)), at: Instant(nanoseconds: seconds * 1_000_000_000))
      }
      func tick(at seconds: Int64) { journal.tick(at: Instant(nanoseconds: seconds * 1_000_000_000)) }
      for number in 1...100 { fail(UInt64(number), at: 0) }
      tick(at: 9)
      #expect(lines().count == 1)
      #expect(lines()[0].contains("request 1 "))
      tick(at: 10)
      #expect(lines().count == 2)
      #expect(lines()[1].contains("request 100 "))
      #expect(lines()[1].hasSuffix("(and 98 more like it in the last 10 s)"))
      fail(101, at: 15)
      #expect(lines().count == 2, "the storm may go on")
      tick(at: 20)
      #expect(lines().count == 3)
      #expect(!lines()[2].contains("more like it"))
      tick(at: 30)
      fail(102, at: 31)
      #expect(lines().count == 4, "after a quiet time the first is told at once")
    }
  }

  @Test func differentTroubleIsToldApart() throws {
    try withJournal { journal, lines in
      for failure in RequestFailure.allCases { journal.tell(.requestLost(Self.request, .failed(failure)), at: .zero) }
      #expect(lines().count == RequestFailure.allCases.count)
      for invocation in ["i1", "i2"] {
        var facts = Self.facts
        facts.invocation = InvocationID(invocation)
        for _ in 0..<3 {
          journal.tell(.decided(.instanceUnhealthy("gpu0", .refusing, interrupted: 0, putBack: 0), facts), at: .zero)
        }
      }
      #expect(lines().count { $0.contains("is unhealthy") } == 2, "a successor's fault is no repetition")
    }
  }

  @Test func thatTheDispatcherItselfLacksConnectionsIsToldOnceWhoeverWantedOne() async throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write("", to: "journal")
    let handle = try #require(FileHandle(forWritingAtPath: file))
    let journal = Journal(identifier: "x", destination: .text(descriptor: handle.fileDescriptor))
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let store = try await QueueStore.open(nil, on: loop).get()
    try await loop.submit {
      let shell = DispatcherShell(
        loop: loop, limits: DispatchLimits(), store: store, journal: DispatcherJournal(journal))
      #expect(!shell.lacksConnection(.failure(UpstreamRequestError.closedEarly)))
      shell.gatewayLacksConnection(problem: "no connection to 127.0.0.1:1: too many open files")
      #expect(shell.lacksConnection(.failure(UpstreamRequestError.lacksConnection("too many open files"))))
      shell.close()
    }.get()
    journal.flush()
    let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
    #expect(lines.count == 2, "the first at once, the second on the way out")
    #expect(lines.allSatisfy { $0.contains("lacks something of its own") && $0.hasSuffix("too many open files") })
    withExtendedLifetime(handle) {}
  }

  @Test func whatIsUntoldIsToldOnTheWayOut() throws {
    try withJournal { journal, lines in
      for _ in 0..<3 { journal.tell(.requestLost(Self.request, .failed(.truncated)), at: .zero) }
      journal.finish()
      #expect(lines().count == 2)
      #expect(lines()[1].hasSuffix("(and 1 more like it in the last 10 s)"))
    }
  }

  private func withJournal(_ body: (inout DispatcherJournal, () -> [Substring]) throws -> Void) throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write("", to: "journal")
    let handle = try #require(FileHandle(forWritingAtPath: file))
    let journal = Journal(identifier: "x", destination: .text(descriptor: handle.fileDescriptor))
    var told = DispatcherJournal(journal)
    try body(&told) {
      journal.flush()
      return ((try? String(contentsOfFile: file, encoding: .utf8)) ?? "").split(separator: "\n")
    }
    withExtendedLifetime(handle) {}
  }

  // MARK: The catalog

  @Test func theCatalogExplainsEveryKindAndNoOther() throws {
    let file = PackageRoot.path(to: "units/ollama-pool-dispatcher.catalog")
    let entries = try Self.entries(of: try String(contentsOfFile: file, encoding: .utf8))
    #expect(Set(entries.keys) == Set(DispatcherEvent.Kind.allCases.map(\.rawValue)))
    let known = Self.events.reduce(into: Set<String>()) { $0.formUnion($1.3.keys) }
    for (id, entry) in entries {
      #expect(entry.hasPrefix("Subject: "), "\(id)")
      #expect(entry.contains("\nDefined-By: ollama-pool\n"), "\(id)")
      #expect(entry.contains("\n\n"), "\(id) explains nothing")
      for field in entry.matches(of: #/@([A-Z_]+)@/#).map({ String($0.1) }) {
        #expect(known.contains(field), "\(id) names a field that no entry has: \(field)")
      }
    }
  }

  private static func entries(of catalog: String) throws -> [String: String] {
    var entries: [String: String] = [:]
    for part in ("\n" + catalog).components(separatedBy: "\n-- ").dropFirst() {
      let end = try #require(part.firstIndex(of: "\n"))
      let id = String(part[..<end])
      #expect(id.wholeMatch(of: #/[0-9a-f]{32}/#) != nil, "\(id)")
      #expect(entries[id] == nil, "\(id) comes twice")
      entries[id] = String(part[part.index(after: end)...])
    }
    return entries
  }
}
