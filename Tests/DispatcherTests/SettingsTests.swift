import Gateway
import OllamaAPI
import PoolConfiguration
import Testing

@testable import Dispatcher

/// What the configuration says, where it takes effect.
@Suite struct SettingsTests {
  private func rules(_ text: String) throws -> ModelRules {
    GatewayLimits(try ConfigurationReader.read(text: text, name: "test.yaml").settings).modelRules
  }

  @Test("what requests may ask of a model is as configured")
  func rules() throws {
    let made = try rules("models: {a: {num_ctx: 8192, max_num_ctx: 16384}, b: {max_num_ctx: 4096}, c: {}}\n")
    #expect(made["a:latest"].contextLength == .fixed(8192))
    #expect(made["b"].contextLength == .most(4096))
    #expect(made["c"].contextLength == nil && made["d"].contextLength == nil)
  }

  @Test("a request can put layers on the CPU only where that is allowed")
  func layers() throws {
    for (text, isFree) in [("", false), ("allow_cpu: true\n", true)] {
      let made = try rules(text + "models: {a: {num_ctx: 8192}}\n")
      #expect(made["a"].placesLayersByRoom != isFree && made["b"].placesLayersByRoom != isFree)
    }
  }
}
