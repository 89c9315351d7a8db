import Foundation
import NIOCore
import NIOPosix
import QueueStore
import TestSupport
import Testing

@Suite("ollama-pool simulate") struct SimulateTests {
  /// A request every three seconds for ten minutes, of six seconds each.
  private static let trace =
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    + (0..<200).map { "2026-01-01 00:\(two($0 * 3 / 60)):\(two($0 * 3 % 60)),100,360\n" }.joined()

  private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

  private static func simulate(_ arguments: String...) async throws -> CommandLine.Result {
    let folder = try TemporaryDirectory()
    let (trace, configuration) = (
      try folder.write(trace, to: "trace.csv"), try folder.write("slots: 1\n", to: "pool.yaml")
    )
    return try await CommandLine.run(
      ["simulate", "--trace", trace, "--config", configuration]
        + arguments.map { $0.replacing("FOLDER", with: folder.path) })
  }

  @Test("a table, with a row for each number of GPUs and policy")
  func table() async throws {
    let result = try await Self.simulate("--gpus", "2..3", "--policy", "always-on", "--policy", "economy")
    #expect(result.end == .exited(0) && result.errorOutput.isEmpty)
    let rows = result.outputLines.map { $0.split(separator: " ") }
    #expect(rows.first?.prefix(3) == ["GPUS", "POLICY", "REQUESTS"])
    #expect(
      rows.dropFirst().map { Array($0.prefix(3)) } == [
        ["2", "always-on", "200"], ["2", "economy", "200"], ["3", "always-on", "200"], ["3", "economy", "200"],
      ])
  }

  @Test("JSON has each seed's figures")
  func json() async throws {
    let result = try await Self.simulate("--gpus", "3", "--seed", "1..2", "--json")
    #expect(result.end == .exited(0))
    let runs = try #require(result.json["runs"] as? [[String: Any]])
    let figures = try #require(runs.first?["figures"] as? [[String: Any]])
    #expect(runs.count == 1 && figures.count == 2 && figures[0]["requests"] as? Int == 200)
    #expect(figures.allSatisfy { ($0["gpuShare"] as? Double ?? 0) > 0.5 && $0["unserved"] as? Int == 0 })
  }

  @Test("the fewest GPUs that reach a goal, and the cheapest policy; what comes closest where none does")
  func goal() async throws {
    let result = try await Self.simulate("--goal", "p95 < 10s")
    #expect(result.end == .exited(0))
    #expect(result.outputLines.last?.hasPrefix("p95 < 10s: 2 GPUs with always-on, which takes 0.3 GPU hours") == true)
    let missed = try await Self.simulate("--goal", "p95 < 2s", "--gpus", "1..2")
    #expect(missed.end == .exited(1))
    #expect(missed.complaint.hasPrefix("ollama-pool: p95 < 2s is not reached: 2 GPUs with always-on comes closest"))
    #expect(missed.outputLines.count == 9)
  }

  @Test("the pool's own history is a trace, with its own time of the week")
  func history() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "history.sqlite")
    let history = try await RequestHistory.open(path, on: MultiThreadedEventLoopGroup.singleton.next()).get()
    // Of 2026-11-30, a Monday, 12:00 UTC, which is Monday everywhere but on some islands.
    let start: Int64 = 1_796_040_000_000
    var past: [PastRequest] = []
    for number in 0..<100 {
      let outcome: PastRequest.Outcome = number == 7 ? .refused : .served
      past.append(
        PastRequest(
          arrivedAt: WallTime(milliseconds: start + Int64(number * 5_000)), className: "standard", priority: 1,
          model: "m", user: Int64(number % 3), inputTokens: 100, outputTokens: outcome == .served ? 360 : 0, wait: 0,
          service: 6_000, outcome: outcome))
    }
    try await history.add(past).get()
    func simulate(_ arguments: String...) async throws -> CommandLine.Result {
      let configuration = try folder.write("slots: 1\n", to: "pool.yaml")
      return try await CommandLine.run(
        ["simulate", "--trace", path, "--config", configuration, "--gpus", "6", "--json"] + arguments)
    }
    func figures(_ result: CommandLine.Result) throws -> [String: Any] {
      try #require(((result.json["runs"] as? [[String: Any]])?.first?["figures"] as? [[String: Any]])?.first)
    }
    // While it is written.
    let whole = try await simulate()
    #expect(whole.end == .exited(0))
    #expect(try figures(whole)["requests"] as? Int == 100 && figures(whole)["unserved"] as? Int == 0)
    let part = try await simulate("--from", "60s", "--length", "120s")
    #expect(try figures(part)["requests"] as? Int == 24)
    let mondays = "scaling.schedule=[{days: mon, from: 00:00, to: 24:00, min: 6}]"
    let always = try figures(try await simulate("--set", mondays))
    #expect(always["gpuShare"] as? Double ?? 0 > 0.99)
    #expect(
      try figures(try await simulate("--set", mondays, "--starts-at", "wed 08:00"))["gpuShare"] as? Double ?? 1 < 0.99)
    let none = try await simulate("--from", "1h")
    #expect(none.end == .exited(1) && none.complaint.contains("has no requests there"))
    try await history.close().get()
    try folder.write("SQLite format 3\0, and not at all", to: "history.sqlite")
    let damaged = try await simulate()
    #expect(damaged.end == .exited(1) && damaged.complaint.contains(path))
  }

  @Test("models that the pool's own history tells of are loaded, and the table and JSON say how often")
  func models() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "history.sqlite")
    let history = try await RequestHistory.open(path, on: MultiThreadedEventLoopGroup.singleton.next()).get()
    let start: Int64 = 1_796_040_000_000
    let past = (0..<60).map { number in
      PastRequest(
        arrivedAt: WallTime(milliseconds: start + Int64(number * 60_000)), className: "standard", priority: 1,
        model: ["a:latest", "b:latest", "c:latest"][number % 3], user: 1, inputTokens: 100, outputTokens: 360, wait: 0,
        service: 6_000, outcome: .served)
    }
    try await history.add(past).get()
    try await history.close().get()
    let configuration = try folder.write("slots: 1\n", to: "pool.yaml")
    func simulate(_ arguments: [String]) async throws -> CommandLine.Result {
      try await CommandLine.run(["simulate", "--trace", path, "--config", configuration, "--gpus", "1"] + arguments)
    }
    func figures(_ arguments: String...) async throws -> [String: Any] {
      let result = try await simulate(["--json"] + arguments)
      return try #require(((result.json["runs"] as? [[String: Any]])?.first?["figures"] as? [[String: Any]])?.first)
    }
    let roomy = try await figures()
    #expect(roomy["loads"] as? Int == 3 && roomy["shareAwaitingModel"] as? Double == 0.05)
    let narrow = try await figures("--loaded-models", "2", "--load-time", "5s")
    #expect(narrow["loads"] as? Int == 60 && narrow["shareAwaitingModel"] as? Double == 1)
    let table = try await simulate(["--loaded-models", "1"])
    #expect(table.outputLines.first?.hasSuffix("LOADS  AWAITED") == true)
    #expect(table.outputLines.last?.hasSuffix("60   100.0%") == true)
    #expect(try await simulate(["--loaded-models", "0"]).end == .exited(64))
    // Of a single one there is nothing to tell.
    #expect(try await Self.simulate("--gpus", "1").outputLines.first?.hasSuffix("IN P90") == true)
  }

  @Test("of rates every number of GPUs gets the same requests")
  func rates() async throws {
    let folder = try TemporaryDirectory()
    let rates = try folder.write("client,t_s,rate_rps,pattern,shape\n1,0,5,Gamma,1\n", to: "rates.csv")
    let tokens = try folder.write(#"{"input": [[100, 1]], "output": [[60, 1]]}"#, to: "tokens.json")
    let result = try await CommandLine.run(
      ["simulate", "--trace", rates, "--tokens", tokens, "--gpus", "1..3", "--slots", "1", "--json"])
    let runs = try #require(result.json["runs"] as? [[String: Any]])
    let counts = runs.compactMap { ($0["figures"] as? [[String: Any]])?.first?["requests"] as? Int }
    #expect(counts.count == 3 && Set(counts).count == 1 && counts[0] > 1_000)
  }

  @Test("keys of the configuration count")
  func keys() async throws {
    let short = try await Self.simulate("--gpus", "1", "--set", "queue.requests=10", "--json")
    let runs = try #require(short.json["runs"] as? [[String: Any]])
    #expect((runs[0]["figures"] as? [[String: Any]])?.first?["unserved"] as? Int ?? 0 > 50)
    let wrong = try await Self.simulate("--set", "scaling.mim=2")
    #expect(wrong.end == .exited(78))
    #expect(wrong.complaint.contains("scaling.mim: is no known key; expected scaling.min"))
    #expect(
      try await Self.simulate("--set", "scaling").complaint == "ollama-pool: --set scaling is not like scaling.min=2")
  }

  @Test("a picture is drawn")
  func plot() async throws {
    let folder = try TemporaryDirectory()
    let result = try await Self.simulate("--gpus", "3", "--plot", "\(folder.path)/day.svg")
    #expect(result.end == .exited(0))
    let picture = try String(contentsOfFile: "\(folder.path)/day.svg", encoding: .utf8)
    #expect(picture.contains("Longest wait") && picture.contains("3 GPUs, default"))
    let nowhere = try await Self.simulate("--plot", "\(folder.path)/none/day.svg")
    #expect(nowhere.end == .exited(1) && nowhere.complaint.contains("none/day.svg can't be written"))
  }

  @Test("bad input is told with its line, and ends with a status")
  func badInput() async throws {
    let folder = try TemporaryDirectory()
    let broken = try folder.write(Self.trace + "2026-01-01 00:10:00,x,1\n", to: "broken.csv")
    let result = try await CommandLine.run(["simulate", "--trace", broken])
    #expect(
      result.end == .exited(1) && result.complaint == "\(broken):202: ContextTokens is \"x\", and not a whole number")
    let missing = try await CommandLine.run(["simulate", "--trace", "\(folder.path)/none.csv"])
    #expect(
      missing.end == .exited(1) && missing.complaint.hasPrefix("ollama-pool: \(folder.path)/none.csv can't be read"))
    let rates = try folder.write("client,t_s,rate_rps,pattern,shape\n1,0,1,Gamma,1\n", to: "rates.csv")
    let lengthless = try await CommandLine.run(["simulate", "--trace", rates])
    #expect(lengthless.end == .exited(64) && lengthless.complaint.contains("say how long these are with --tokens"))
    for wrong in [
      ["--goal", "p95 > 5s"], ["--gpus", "0"], ["--gpus", "3..1"], ["--faster", "0"], ["--slots", "0"],
      ["--load", "2"],
    ] {
      #expect(try await Self.simulate(wrong[0], wrong[1]).end == .exited(64))
    }
  }
}
