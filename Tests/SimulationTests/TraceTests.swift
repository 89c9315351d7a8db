import PoolCore
import Testing

@testable import Simulation

@Suite("Traces")
struct TraceTests {
  private static let azureText = """
    TIMESTAMP,ContextTokens,GeneratedTokens
    2023-11-16 18:17:03.9799600,4808,10
    2023-11-16 18:17:04.0319600,3180,8

    2023-11-16T18:17:05Z,110,0
    """

  private static func read(_ text: String, part: Trace.Part = Trace.Part()) throws(TraceError) -> Trace {
    let bytes = Array(text.utf8)
    let result: Result<Trace, TraceError> = bytes.withUnsafeBytes { bytes in
      do throws(TraceError) { return .success(try Trace.read(bytes, file: "t", part: part)) } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private static func requests(_ text: String, part: Trace.Part = Trace.Part()) throws -> [WorkloadRequest] {
    guard case .requests(let workload) = try read(text, part: part) else { return [] }
    return workload.requests
  }

  @Test("Azure's: arrivals since the first, columns by their names")
  func azure() throws {
    let requests = try Self.requests(Self.azureText)
    #expect(requests.map(\.arrival.nanoseconds) == [0, 52_000_000, 1_020_040_000])
    #expect(requests.map(\.inputTokens) == [4_808, 3_180, 110] && requests.map(\.outputTokens) == [10, 8, 0])
    let other = try Self.requests(
      "GeneratedTokens, x ,TIMESTAMP,ContextTokens\r\n7,a,2024-05-10 00:00:00.009930+00:00,5\r\n"
        + "8,b,2024-05-10 02:00:01+02:00,6\r\n")
    #expect(other.map(\.outputTokens) == [7, 8] && other.map(\.inputTokens) == [5, 6])
    #expect(other.map(\.arrival.nanoseconds) == [0, 990_070_000])
  }

  @Test("Mooncake's: milliseconds, and whatever else is in a line")
  func mooncake() throws {
    let requests = try Self.requests(
      #"""
      {"timestamp": 27000, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}
      {"output_length": 1, "input_length": 2, "timestamp": 30050.5}
      """#)
    #expect(requests.map(\.arrival.nanoseconds) == [0, 3_050_500_000])
    #expect(requests.map(\.inputTokens) == [6_955, 2] && requests.map(\.outputTokens) == [52, 1])
  }

  @Test("rows out of order are put in order; a part is what it says")
  func parts() throws {
    let text = """
      TIMESTAMP,ContextTokens,GeneratedTokens
      2023-11-16 18:00:10,1,1
      2023-11-16 18:00:05,2,2
      2023-11-16 18:01:10,3,3
      2023-11-16 19:00:10,4,4
      """
    #expect(try Self.requests(text).map(\.inputTokens) == [1, 2, 3, 4])
    #expect(try Self.requests(text).map(\.arrival.nanoseconds) == [0, 0, 60_000_000_000, 3_600_000_000_000])
    let part = try Self.requests(text, part: Trace.Part(from: .seconds(30), length: .seconds(600)))
    #expect(part.map(\.inputTokens) == [3] && part.map(\.arrival.nanoseconds) == [30_000_000_000])
  }

  @Test(
    "what is wrong is said with its line",
    arguments: [
      ("", "t: is empty. "),
      ("\n \n", "t: is empty. "),
      ("# ollama-pool\n", "t:1: is no trace that is known: it begins with \"# ollama-pool\""),
      ("TIMESTAMP,ContextTokens\n", "t:1: has no column GeneratedTokens; its columns are TIMESTAMP, ContextTokens"),
      ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "t: has no requests"),
      (azureText + "\nyesterday,1,2", "t:6: TIMESTAMP is \"yesterday\", and not a time like 2023-11-16 18:17:03.979"),
      (azureText + "\n2023-13-16 18:17:06,1,2", "t:6: TIMESTAMP is \"2023-13-16 18:17:06\""),
      (azureText + "\n2023-11-16 18:17:06,-1,2", "t:6: ContextTokens is -1, and not from 0 to 10000000"),
      (azureText + "\n2023-11-16 18:17:06,1,1e9", "t:6: GeneratedTokens is \"1e9\", and not a whole number"),
      (azureText + "\n2023-11-16 18:17:06,1,99999999", "t:6: GeneratedTokens is 99999999, and not from 0 to 10000000"),
      (azureText + "\n2023-11-16 18:17:06,1", "t:6: has no GeneratedTokens: it has 2 columns"),
      ("\n\nrubbish", "t:3: is no trace that is known"),
      (azureText + "\n2023-11-16 17:17:06,1,1", "t:6: is 3597 s before the first line"),
      (azureText + "\n2024-11-16 17:17:06,1,1", "t:6: is 365 days after the first, and a run has at most 31"),
      (#"{"timestamp": 1, "input_length": 2}"#, "t:1: has no output_length"),
      (#"{"timestamp": 1, "input_length": "2", "output_length": 1}"#, "t:1: input_length is no number"),
      (#"{"timestamp": -1, "input_length": 2, "output_length": 1}"#, "t:1: timestamp is -1.0"),
      ("{\"timestamp\": 1, \"input_length\": 2, \"output_length\": 1}\nrubbish", "t:2: is no JSON object: \"rubbish\""),
      ("client,t_s,rate_rps,pattern\n", "t:1: has no column shape"),
      ("client,t_s,rate_rps,pattern,shape\n1,0,-1,Gamma,1\n", "t:2: rate_rps is \"-1\", and not a number from 0"),
      ("client,t_s,rate_rps,pattern,shape\n1,0,nan,Gamma,1\n", "t:2: rate_rps is \"nan\""),
      ("client,t_s,rate_rps,pattern,shape\n1,0,1,Pareto,1\n", "t:2: pattern is \"Pareto\", and neither Gamma"),
      ("client,t_s,rate_rps,pattern,shape\n1,0,1,Gamma,0\n", "t:2: shape is 0, and not at least 0.01"),
      ("client,t_s,rate_rps,pattern,shape\n1,0,1\n", "t:2: has 3 columns"),
      ("client,t_s,rate_rps,pattern,shape\n1,0,0,Gamma,1\n", "t: has no requests"),
    ])
  func wrong(text: String, problem: String) {
    do {
      _ = try Self.read(text)
      Issue.record("was taken")
    } catch {
      #expect("\(error)".hasPrefix(problem))
    }
  }

  @Test("of what is cut, joined or mutated anything may come but a crash")
  func fuzz() {
    var random = SeededGenerator(seed: 11)
    let seeds = [
      Self.azureText, #"{"timestamp": 27000, "input_length": 6955, "output_length": 52}"#,
      "client,t_s,rate_rps,pattern,shape\n1,0,0.1,Weibull,0.4\n",
    ].map { Array($0.utf8) }
    for _ in 0..<3_000 {
      var bytes = seeds[Int.random(in: 0..<seeds.count, using: &random)]
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        if random.happens(0.5) { bytes[index] = .random(in: 0...255, using: &random) } else { bytes.remove(at: index) }
      }
      bytes.withUnsafeBytes { _ = try? Trace.read($0, file: "t") }
    }
  }

  @Test("rates make as many requests, in bursts as they were, and the same for a seed")
  func rates() throws {
    let rows = (0..<6).map { "a,\($0 * 600),2,Gamma,0.25\nb,\($0 * 600),1,Weibull,0.5\n" }.joined()
    guard case .rates(let rates) = try Self.read("client,t_s,rate_rps,pattern,shape\n" + rows) else {
      Issue.record("no rates")
      return
    }
    #expect(rates.busiest == 3)
    let tokens = try TokenLengths.read(
      #"{"input": [[10, 0.5], [20, 1.5]], "output": [[100, 2]]}"#.utf8, file: "tokens")
    #expect(tokens.input.mean == 17.5 && tokens.output.mean == 100)
    func made(_ factor: Double, _ seed: UInt64) throws -> Workload {
      try rates.workload(Trace.Part(), factor: factor, tokens: tokens.scaled(by: 0.5, atMost: 40), seed: seed)
    }
    let workload = try made(1, 1)
    let (again, other) = (try made(1, 1), try made(1, 2))
    #expect(workload == again && workload != other)
    // 10,800 expected, with a standard deviation of about 200.
    #expect((10_000...11_600).contains(workload.requests.count))
    #expect((4_900...5_900).contains(try made(0.5, 1).requests.count))
    #expect((20_000...23_200).contains(try made(2, 1).requests.count))
    #expect(workload.requests.count { $0.user == "a" } > workload.requests.count { $0.user == "b" })
    #expect(
      Set(workload.requests.map(\.inputTokens)) == [5, 10] && workload.requests.allSatisfy { $0.outputTokens == 40 })
    #expect(workload.requests.last.map { $0.arrival <= .zero + .seconds(3_600) } == true)
    // Of absurd rates few may be kept, and all would be looked at.
    guard case .rates(let absurd) = try Self.read("client,t_s,rate_rps,pattern,shape\na,0,1000000,Gamma,1\n") else {
      return
    }
    #expect(throws: TraceError.self) { try absurd.workload(Trace.Part(), factor: 1e-9, tokens: tokens, seed: 1) }
    // Gaps of shape 0.25 have a squared coefficient of variation of 4.
    let arrivals = workload.requests.filter { $0.user == "a" }.map(\.arrival)
    let gaps = zip(arrivals.dropFirst(), arrivals).map { ($0 - $1).seconds }
    let mean = gaps.reduce(0, +) / Double(gaps.count)
    let variance = gaps.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(gaps.count)
    #expect((3...5).contains(variance / (mean * mean)))
  }

  @Test(
    "lengths that are none are refused",
    arguments: [
      ("[]", "tokens: is not JSON like"), (#"{"input": [[1, 1]]}"#, "tokens: has no output"),
      (#"{"input": [[1, 1]], "output": [[1]]}"#, "tokens: output[0] is not [tokens"),
      (#"{"input": [[1, 1]], "output": [[-1, 1]]}"#, "tokens: output[0] is not [tokens"),
      (#"{"input": [[1, -1]], "output": []}"#, "tokens: input[0] is not [tokens"),
      (#"{"input": [[1, 1]], "output": []}"#, "tokens: output has no probability above 0"),
    ])
  func wrongLengths(text: String, problem: String) {
    do {
      _ = try TokenLengths.read(text.utf8, file: "tokens")
      Issue.record("was taken")
    } catch {
      #expect("\(error)".hasPrefix(problem))
    }
  }
}
