import ControlInterface
import Foundation
import PoolCore
import Systemd
import TestSupport
import Testing

@testable import Supervisor

/// What the journal is told.
@Suite struct EventTests {
  @Test func theCatalogExplainsEveryKindAndNothingElse() throws {
    let catalog = try String(
      contentsOfFile: PackageRoot.path(to: "units/ollama-pool-supervisor.catalog"), encoding: .utf8)
    let explained = catalog.split(separator: "\n").filter { $0.hasPrefix("-- ") }.map { String($0.dropFirst(3)) }
    #expect(explained.sorted() == SupervisorEvent.Kind.allCases.map(\.messageID).sorted())
    #expect(Set(explained).count == explained.count)
    for entry in catalog.components(separatedBy: "\n-- ").dropFirst() {
      #expect(entry.contains("\nSubject: "), "\(entry.prefix(60))")
      #expect(entry.components(separatedBy: "\n\n").count >= 2, "\(entry.prefix(60)) explains something")
    }
  }

  @Test(arguments: [
    ("The GPU needs a reset", GPUFault.Consequence.resetNeeded), ("A program on the GPU failed", .application),
    ("Told, and no more", .warning),
  ])
  func theCatalogSaysWhatFollowsFromEachXIDError(_ what: String, _ consequence: GPUFault.Consequence) throws {
    let catalog = try String(
      contentsOfFile: PackageRoot.path(to: "units/ollama-pool-supervisor.catalog"), encoding: .utf8)
    let entry = try #require(catalog.components(separatedBy: "\n- ").first { $0.hasPrefix(what) })
    let list = try #require(entry.firstRange(of: "XID ")).upperBound
    let codes = entry[list...].prefix { $0.isNumber || ",- \n".contains($0) }
      .split { !$0.isNumber && $0 != "-" }.flatMap { range -> [Int] in
        let ends = range.split(separator: "-").compactMap { Int($0) }
        return ends.isEmpty ? [] : Array(ends[0]...ends[ends.count - 1])
      }
    #expect(codes == XIDError.codes.filter { XIDError(code: $0).consequence == consequence }.sorted())
  }

  @Test func messageIDsAreThirtyTwoHexadecimalDigits() {
    for kind in SupervisorEvent.Kind.allCases {
      #expect(kind.messageID.count == 32 && kind.messageID.allSatisfy { $0.isHexDigit && !$0.isUppercase }, "\(kind)")
    }
  }

  @Test func anEntryCarriesPlacementGPUAndReason() {
    var fleet = Fleet()
    _ = fleet.placementsChanged([Placement(id: "gpu1", gpus: ["GPU-b"])], at: .zero)
    let entry = SupervisorEvent(
      .failed("gpu1", reason: "exit status 1", failures: 2, retryIn: .seconds(2)), of: fleet
    ).entry
    #expect(entry.message == "gpu1 failed: exit status 1; next try in 2 s (2 failures in a row)")
    #expect(entry.priority == .warning && entry.messageID == SupervisorEvent.Kind.failed.messageID)
    let fields = Dictionary(entry.fields.map { ($0.name, $0.value) }) { first, _ in first }
    #expect(fields["POOL_INSTANCE"] == "gpu1" && fields["POOL_GPU"] == "GPU-b")
    #expect(fields["POOL_REASON"] == "exit status 1; next try in 2 s (2 failures in a row)")
  }

  @Test func theJournalReadsLikeAStory() {
    let unit = RunningInstance.Unit(
      invocation: "a", mainPID: 4711, address: "127.0.0.1:11502", specification: "s")
    let reports: [FleetReport] = [
      .targetChanged(from: 1, to: 4, ready: 1, starting: 0, demand: 8, .demand(need: 4, ago: .zero)),
      .starting("gpu2", attempt: 0), .running("gpu2", unit),
      .ready(
        "gpu2",
        ColdStart(
          total: .milliseconds(3140), unit: .milliseconds(40), discovery: .milliseconds(300),
          loads: [TimedLoad(model: "llama3.2:latest", duration: .milliseconds(2800))])),
      .modelRead(
        ReadAhead.Outcome(model: "llama3.2:latest", size: 2 << 30, read: 1 << 30, duration: .milliseconds(500))),
      .modelRead(ReadAhead.Outcome(model: "m:latest", size: 0, read: 0, duration: .zero, problem: "no such model")),
      .readAheadFailed(reason: "no program"),

      .targetChanged(from: 4, to: 1, ready: 4, starting: 1, demand: 1, .demand(need: 1, ago: .seconds(90))),
      .stopping("gpu2", .surplus(idle: .seconds(60))), .stopped("gpu2", .surplus(idle: .seconds(60))),
      .scaleSet(minimum: 2, maximum: 2), .scaleSet(minimum: nil, maximum: nil),
    ]
    #expect(
      reports.map { SupervisorEvent($0, of: Fleet(), origin: .order(userID: 0)).entry.message } == [
        "target 4 (was 1): the requests of now need 4; 1 ready, 8 requests",
        "gpu2 starts", "gpu2 runs: process 4711 at 127.0.0.1:11502, not ready yet",
        "gpu2 ready after 3.1 s: unit 40 ms, first answer 300 ms, llama3.2:latest 2.8 s",
        "llama3.2:latest is read ahead: 1 GiB of 2 GiB in 500 ms, 2 GiB/s", "m:latest is not read ahead: no such model",
        "models are not read ahead: no program",
        "target 1 (was 4): the busiest moment, 90 s ago, needed 1; 4 ready, 1 starting, 1 request",
        "gpu2 stops: surplus, and empty for 60 s", "gpu2 has stopped: surplus, and empty for 60 s",
        "exactly 2 instances, until taken back: by order of uid 0",
        "the configured bounds hold again: by order of uid 0",
      ])
  }

  @Test(arguments: [
    (Duration.milliseconds(0), "0 s"), (.milliseconds(3140), "3.1 s"), (.seconds(2), "2 s"), (.seconds(60), "60 s"),
    (.seconds(600), "10 min"), (.seconds(3 * 3600), "3 h"), (.milliseconds(9960), "10 s"),
  ]) func durationsAreBrief(_ duration: Duration, _ text: String) { #expect(duration.brief == text) }

  @Test func theLogKeepsTheLastTwoHundred() {
    var log = DecisionLog()
    for number in 0..<450 {
      log.add(SupervisorEvent(.ready, "event \(number)"), at: Instant(nanoseconds: Int64(number) * 1_000_000_000))
    }
    let decisions = log.decisions(at: Instant(nanoseconds: 450_000_000_000))
    #expect(decisions.count == 200)
    #expect(decisions.first?.what == "event 250" && decisions.last?.what == "event 449")
    #expect(decisions.last?.secondsAgo == 1)
  }
}
