import PoolCore
import Simulation
import TestSupport

/// Quiet, then a burst that takes all GPUs, then less, and hardly anything at last.
enum BriefWorkload {
  static let history = "/var/lib/ollama-pool-dispatcher/history.sqlite"

  /// Requests a second, from when to when. With most of the seeds the target is 2, 3, 4, 3, 2, 1, whatever the noise.
  private static let parts: [(from: Double, to: Double, perSecond: Double)] = [
    (0, 14, 0.3), (14, 32, 4), (32, 54, 0.7), (54, 80, 0.12),
  ]
  private static let questions = 100...1_000
  /// In tokens; each answer has another length, which says which one it is.
  private static let shortestAnswer = 10

  static func make(seed: UInt64) -> Workload {
    var random = SeededGenerator(seed: seed)
    var arrivals: [Double] = []
    for part in parts {
      // Each in a stretch of its own: chance makes no further bursts.
      let count = Int((part.to - part.from) * part.perSecond)
      let gap = (part.to - part.from) / Double(count)
      arrivals += (0..<count).map { part.from + (Double($0) + Double.random(in: 0..<1, using: &random)) * gap }
    }
    let answers = (shortestAnswer..<(shortestAnswer + arrivals.count)).shuffled(using: &random)
    return Workload(
      zip(arrivals, answers).map {
        WorkloadRequest(
          arrival: .zero + .seconds($0), inputTokens: Int.random(in: questions, using: &random), outputTokens: $1)
      })
  }

  /// Asks it of the pool, and reads the answer.
  static func ask(_ request: WorkloadRequest) async throws {
    // Of four bytes each, to the simulator.
    let question = String(repeating: "four", count: request.inputTokens)
    let probe = try await HTTPProbe.connect(port: InstalledPool.port)
    try await probe.send(
      "POST", "/api/generate", headers: [("Content-Type", "application/json")],
      body: """
        {"model":"llama3.2","prompt":"\(question)","options":{"num_predict":\(request.outputTokens)}}
        """)
    let answer = try await probe.answer(within: .seconds(60))
    await probe.close()
    guard answer.status == 200, answer.text.contains("\"done\":true") else {
      throw Failed("\(request) was answered with \(answer.status) \(answer.text.suffix(500))")
    }
  }
}
