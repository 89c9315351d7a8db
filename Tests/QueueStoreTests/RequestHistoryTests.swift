import Foundation
import GRDB
import NIOCore
import NIOPosix
import QueueStore
import TestSupport
import Testing

@Suite struct RequestHistoryTests {
  private let folder: TemporaryDirectory
  private let path: String

  init() throws {
    folder = try TemporaryDirectory()
    path = folder.path(to: "history.sqlite")
  }

  private static let start = WallTime(milliseconds: 1_800_000_000_000)

  /// Arrived so many seconds after ``start``.
  private static func request(
    at second: Int64, _ outcome: PastRequest.Outcome = .served, wait: Int? = 250, service: Int? = 4_000
  ) -> PastRequest {
    PastRequest(
      arrivedAt: WallTime(milliseconds: start.milliseconds + second * 1_000), className: "standard", priority: 1,
      model: "llama3.2:latest", user: -7, inputTokens: 12, outputTokens: 340, wait: wait, service: service,
      outcome: outcome)
  }

  private func withHistory(_ body: (RequestHistory) async throws -> Void) async throws {
    let history = try await RequestHistory.open(path, on: MultiThreadedEventLoopGroup.singleton.next()).get()
    try await body(history)
    try await history.close().get()
  }

  private func read(from: Duration = .zero, length: Duration? = nil, most: Int = 100) throws -> [PastRequest] {
    try RequestHistory.read(path, from: from, length: length, most: most)
  }

  @Test func whatWasAddedIsReadInTheOrderOfArrivalAlsoWhileItIsWritten() async throws {
    let served = Self.request(at: 5)
    let refused = Self.request(at: 2, .refused, wait: nil, service: nil)
    try await withHistory { history in
      try await history.add([served, refused]).get()
      #expect(try read() == [refused, served])
      try await history.add([Self.request(at: 9, .cancelled, service: nil)]).get()
      #expect(try read().map(\.outcome) == [.refused, .served, .cancelled])
    }
    // And by the next one.
    try await withHistory { history in
      try await history.add(PastRequest.Outcome.allCases.map { Self.request(at: 20, $0) }).get()
    }
    #expect(try read().dropFirst(3).map(\.outcome) == PastRequest.Outcome.allCases)
  }

  @Test func aPartIsTakenSinceTheFirstArrival() async throws {
    try await withHistory { history in try await history.add((0..<10).map { Self.request(at: $0 * 60) }).get() }
    #expect(try read(from: .seconds(120)).first == Self.request(at: 120))
    #expect(
      try read(from: .seconds(120), length: .seconds(180)).map(\.arrivedAt)
        == [120, 180, 240].map { Self.request(at: $0).arrivedAt })
    #expect(try read(from: .seconds(6_000)).isEmpty)
    #expect { try read(most: 9) } throws: { "\($0)".contains("more than 9 requests") }
  }

  @Test func whatIsTooOldOrTooMuchGoes() async throws {
    try await withHistory { history in
      try await history.add((0..<10).map { Self.request(at: $0 * 60) }).get()
      let now = Self.request(at: 600).arrivedAt
      try await history.prune(RequestHistory.Limits(age: .seconds(300), requests: 100), at: now).get()
      #expect(try read().first == Self.request(at: 300) && read().count == 5)
      try await history.prune(RequestHistory.Limits(requests: 2), at: now).get()
      #expect(try read().map(\.arrivedAt) == [480, 540].map { Self.request(at: $0).arrivedAt })
      try await history.prune(RequestHistory.Limits(requests: 0), at: now).get()
      #expect(try read().isEmpty)
    }
  }

  @Test func onlyItsUserMayReadIt() async throws {
    try await withHistory { history in try await history.add([Self.request(at: 0)]).get() }
    var status = stat()
    #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
  }

  @Test func anotherDatabaseIsLeftAsItIs() async throws {
    let other = try DatabaseQueue(path: path)
    try await other.write { try $0.execute(sql: "CREATE TABLE t (x)") }
    try other.close()
    let before = try Data(contentsOf: URL(filePath: path))
    await #expect { try await withHistory { _ in } } throws: { "\($0)".contains("is no history of an ollama-pool") }
    #expect { try read() } throws: { "\($0)".contains("is no history of an ollama-pool") }
    #expect(try Data(contentsOf: URL(filePath: path)) == before)
  }

  @Test func whatCannotBeOpenedOrReadSaysWhy() async throws {
    #expect { try read() } throws: { "\($0)".contains(path) }
    let nowhere = folder.path(to: "none/history.sqlite")
    await #expect {
      _ = try await RequestHistory.open(nowhere, on: MultiThreadedEventLoopGroup.singleton.next()).get()
    } throws: { "\($0)".contains("can't be opened for writing") }
    try folder.write("SQLite format 3\0 and nothing more", to: "history.sqlite")
    #expect { try read() } throws: { ($0 as? QueueStoreError)?.code == .damaged }
  }
}
