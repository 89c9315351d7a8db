import FoundationEssentials
import Testing

import PoolConfiguration

@Suite struct DescriptionTests {
  private static let rich = """
    listen: [0.0.0.0:11434, "[::1]:8080"]
    allow_open_listener: true
    metrics_listen: off
    origins: [https://a.example.org, https://b.example.org, https://c.example.org, https://d.example.org]
    keep_alive: forever
    environment: {X: "a: b # c", Y: "null", Z: "1", W: "\\"q\\\\\\t", E: "", D: "-x"}
    memory_max: 1500MB
    gpus: [{uuid: GPU-a, name: "null", nodes: [/dev/nvidia0]}, {uuid: GPU-b, vendor: amd, pci: "0000:01:00.0"}]
    placements: [{id: x, gpus: [0, GPU-b], shared: true, environment: {Q: "[a]"}}]
    scaling: {policy: latency, z: 0.25, window: 1500ms, max: 1}
    """

  @Test("what is shown reads back as the same settings")
  func roundTrip() throws {
    for text in ["", Self.rich] {
      let configuration = try ConfigurationReader.read(text: text, name: "f")
      let shown = SettingsDescription.render(configuration)
      #expect(try settings(shown) == configuration.settings, "\(shown)")
    }
  }

  @Test("the JSON is a configuration too")
  func json() throws {
    for text in ["", Self.rich] {
      let original = try settings(text)
      let encoded = try JSONEncoder().encode(original)
      #expect(try settings(String(decoding: encoded, as: UTF8.self)) == original)
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let json = String(decoding: try encoder.encode(Settings()), as: UTF8.self)
    #expect(json.contains(#""drain_timeout":"60s""#) || json.contains(#""drain_timeout":"1m""#))
    #expect(json.contains(#""listen":["127.0.0.1:11434"]"#) && json.contains(#""allow_open_listener":false"#))
  }

  @Test("each value says where it came from")
  func origins() throws {
    let folder = try TemporaryFolder()
    let main = try folder.write("pool.yaml", "slots: 2\nscaling: {policy: economy}\nenvironment: {A: b}\n")
    let shown = SettingsDescription.render(try ConfigurationReader.read(path: main))
    func line(_ start: String) -> String? {
      shown.split(separator: "\n").first { $0.hasPrefix(start) }.map(String.init)
    }
    #expect(line("# from ") == "# from \(main)")
    #expect(line("slots: 2 ")?.hasSuffix(" # \(main):1") == true)
    #expect(line("  policy: economy")?.hasSuffix(" # \(main):2") == true)
    #expect(line("  z: auto")?.hasSuffix(" # default; 0.5 by the policy") == true)
    #expect(line("  window: auto")?.hasSuffix(" # default; 3 cold starts, within 60s and 10m") == true)
    #expect(line("  smoothing: auto")?.hasSuffix(" # default; 0.6 cold starts") == true)
    #expect(line("  shrink: auto")?.hasSuffix(" # default; 50% by the policy") == true)
    #expect(line("  shrink_period: auto")?.hasSuffix(" # default; 45 cold starts, within 5m and 30m") == true)
    #expect(line("  idle_hold: 5s")?.hasSuffix(" # default") == true)
    #expect(line("  A: b")?.hasSuffix(" # \(main):3") == true)
    #expect(line("launcher: auto")?.hasSuffix(" # default") == true)
  }
}
