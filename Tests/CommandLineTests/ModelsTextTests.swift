import Testing

@testable import ollama_pool

/// What helps against reloads.
@Suite struct ModelsTextTests {
  private func remedies(_ reloads: (model: String, from: String, to: String)...) -> [String] {
    let all = reloads.map { model, from, to in
      PoolStatus.Reloads(
        model: model, client: "10.0.0.7", count: 1, instance: "gpu0", secondsAgo: 1, from: from, to: to, differing: [])
    }
    return ModelsText.reloads(all).filter { $0.hasPrefix("→ ") }
  }

  @Test func `the longest of the lengths that clients ask for is proposed`() {
    #expect(
      remedies(("a", "num_ctx 8192", "num_ctx 4096"), ("a", "num_ctx 4096", "num_ctx 2048")) == [
        "→ one num_ctx for all requests ends it; in the configuration: models: {a: {num_ctx: 8192}}"
      ])
  }

  @Test(arguments: [("the defaults", "num_ctx 2048"), ("num_ctx 2048", "the defaults")])
  func `no remedy shortens what others have by default`(from: String, to: String) {
    let remedies = remedies(
      ("a", from, to), ("b", "num_ctx 8192", "num_ctx 4096"), ("it's", "num_ctx 512", "num_gpu 3"))
    #expect(remedies.count == 3)
    #expect(remedies[0].hasSuffix("models: {b: {num_ctx: 8192}}"))
    #expect(
      remedies[1].hasSuffix(
        "both: context_length: N, models: {a: {num_ctx: N}, 'it''s': {num_ctx: N}}, where N is the larger of 2048 and the "
          + "default"))
    #expect(remedies[2].contains("the same num_gpu, or none"))
  }
}
