import FoundationEssentials
import Glibc
import PoolConfiguration
import PoolCore
import QueueStore
import Simulation

/// The pool's own history as a workload.
struct RecordedHistory {
  let workload: Workload
  /// By the clock on the wall of this machine.
  let startsAt: WeekTime

  /// Whether a file is a database at all.
  static func isDatabase(_ file: String) -> Bool {
    guard let handle = fopen(file, "rb") else { return false }
    defer { fclose(handle) }
    var bytes = [UInt8](repeating: 0, count: 16)
    return fread(&bytes, 1, 16, handle) == 16 && bytes == Array("SQLite format 3\0".utf8)
  }

  init(_ file: String, _ part: Trace.Part) throws(CommandFailure) {
    let length = part.length.map { min($0, Trace.longest) } ?? Trace.longest
    let past: [PastRequest]
    do throws(QueueStoreError) {
      past = try RequestHistory.read(file, from: part.from, length: length, most: Trace.mostRequests)
    } catch {
      throw CommandFailure(error.description)
    }
    guard let first = past.first else {
      throw CommandFailure("\(file) has no requests there", remedy: "take another part of it with --from")
    }
    self.init(past, since: first.arrivedAt)
  }

  init(_ past: [PastRequest], since start: WallTime) {
    // Of what was never served nobody knows how long its answer would have been.
    let answers = past.filter { $0.outcome == .served }.map(\.outputTokens)
    let typical = answers.isEmpty ? 0 : answers.reduce(0, +) / answers.count
    workload = Workload(
      past.map { request in
        WorkloadRequest(
          arrival: .zero + .milliseconds(request.arrivedAt.milliseconds - start.milliseconds),
          inputTokens: request.inputTokens,
          outputTokens: request.outcome == .served ? request.outputTokens : max(typical, request.outputTokens),
          user: UserID("\(request.user)"), priority: request.priority, model: request.model)
      })
    startsAt = WeekTime(secondsSince1970: Int(start.milliseconds / 1_000))
  }
}
