import PoolCore
import Testing

@Suite struct ModelNameTests {
  @Test(arguments: [
    ("m", "m:latest"), ("m:latest", "m:latest"), ("M:Latest", "m:latest"), ("library/m", "m:latest"),
    ("registry.ollama.ai/library/m:7b", "m:7b"), ("user/m", "user/m:latest"),
    ("https://hf.co/u/M-GGUF:Q4", "hf.co/u/m-gguf:q4"),
    ("localhost:5000/u/m", "localhost:5000/u/m:latest"), ("qwen3:0.6b", "qwen3:0.6b"),
    (" m\n", "m:latest"), ("m:local", "m:latest"), ("m:3b:Local", "m:3b"), ("m: local ", "m:latest"),
    ("m:localhost", "m:localhost"), ("m:cloud", "m:cloud"),
  ])
  func `names of one model have one key`(name: String, key: String) {
    #expect(ModelName(name)?.key == key)
    #expect(ModelName.key(of: name) == key)
  }

  @Test(arguments: ["", ":", "m:", ":x", "a/b/c/d", "/m", "m/", "a b", "m:a/b:", "m@sha256:ab", "ü", "-m", "m:\u{0}"])
  func `what Ollama refuses is no name`(name: String) {
    #expect(ModelName(name) == nil)
    #expect(ModelName.key(of: name) == name)
  }

  @Test(arguments: [
    ("glm-4.6:cloud", true), ("gpt-oss:120b-cloud", true), ("U/M:Cloud", true), ("cloud", false), ("m:cloudy", false),
    ("m-cloud", false), ("", false), (" m:7b:cloud ", true), (":cloud", true), ("m:a-cloud/b", false),
    ("m:local", false),
  ])
  func `a tag tells what is computed elsewhere`(name: String, isElsewhere: Bool) {
    #expect(ModelName.isComputedElsewhere(name) == isElsewhere)
  }

  @Test func `equality ignores case and defaults`() {
    #expect(ModelName("M") == ModelName("library/m:latest"))
    #expect(ModelName("m:1b") != ModelName("m"))
    #expect(Set([ModelName("m"), ModelName("M:latest")]).count == 1)
  }
}
