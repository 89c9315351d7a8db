import PoolConfiguration
import Testing

@testable import ollama_pool

@Suite struct ContextExaminationTests {
  private func findings(_ text: String) throws -> [Finding] {
    ContextExamination.findings(try ConfigurationReader.read(text: text, name: "f").settings)
  }

  @Test func `a model's length that is not that of the instances is remarked`() throws {
    let auto = try findings("models: {b: {num_ctx: 8192}, a: {max_num_ctx: 4096}}")
    #expect(auto.map(\.status) == [.ok])
    #expect(
      auto.first?.text.hasPrefix(
        "b: requests by OpenAI's and Anthropic's APIs, which can't name a length, get context_length (auto), others "
          + "num_ctx (8192), and each kind loads it anew") == true)
    let other = try findings("context_length: 4096\nmodels: {b: {num_ctx: 8192}}")
    #expect(other.first?.text.contains("get context_length (4096)") == true)
    #expect(try findings("context_length: 8192\nmodels: {b: {num_ctx: 8192}}").isEmpty)
    #expect(try findings("").isEmpty)
  }

  @Test func `the placements that serve it count`() throws {
    let text = """
      context_length: 4096
      models: {b: {num_ctx: 8192}}
      gpus: [{uuid: GPU-a}, {uuid: GPU-b}]
      placements: [{gpus: [0], context_length: 8192, models: [B:latest]}, {gpus: [1], models: [c]}]
      """
    #expect(try findings(text).isEmpty)
    #expect(try findings(text.replacing("[c]", with: "[b]")).count == 1)
  }
}
