import FoundationEssentials
import Testing

@testable import PoolConfiguration

@Suite struct ShippedFileTests {
  private static func text() throws -> String {
    let root = #filePath.components(separatedBy: "/Tests/")[0]
    return try String(contentsOfFile: root + "/config/ollama-pool.yaml", encoding: .utf8)
  }

  /// The text with `#key:` turned into `key:`.
  private static func uncommented() throws -> String {
    try text().split(separator: "\n", omittingEmptySubsequences: false).map { line in
      let indent = line.prefix { $0 == " " }
      let content = line.dropFirst(indent.count)
      guard content.first == "#", let next = content.dropFirst().first, next.isLetter else { return String(line) }
      return String(indent + content.dropFirst())
    }.joined(separator: "\n")
  }

  @Test("the shipped file equals the defaults")
  func defaults() throws {
    #expect(try settings(Self.text()) == Settings())
  }

  @Test("with every key in force it still equals the defaults, and no key is missing")
  func everyKey() throws {
    let configuration = try ConfigurationReader.read(text: Self.uncommented(), name: "f")
    #expect(configuration.settings == Settings())
    let known = Set(SettingsKeys.all.paths)
    #expect(known.subtracting(configuration.positions.keys) == [])
    #expect(known.count == 85)
  }

  @Test("the examples for GPUs and placements are valid, and name every key of an entry")
  func examples() throws {
    let lines = try Self.text().split(separator: "\n").filter { $0.hasPrefix("#   ") }.map { $0.dropFirst(4) }
    let example = "listen: [11434]\n" + lines.joined(separator: "\n")
    // The second GPU that the example of a placement speaks of.
    let complete = example.replacing("placements:", with: "  - uuid: GPU-b\nplacements:")
    let positions = try ConfigurationReader.read(text: complete, name: "f").positions
    for key in SettingsKeys.gpu.map(\.name) { #expect(positions["gpus[0].\(key)"] != nil, "\(key)") }
    for key in SettingsKeys.model.map(\.name) { #expect(positions["models.llama3.2:3b.\(key)"] != nil, "\(key)") }
    for key in SettingsKeys.userClass.map(\.name) { #expect(positions["classes.standard.\(key)"] != nil, "\(key)") }
    for key in SettingsKeys.user.map(\.name) { #expect(positions["users.alice@example.org.\(key)"] != nil, "\(key)") }
    for key in SettingsKeys.placement.map(\.name) { #expect(positions["placements[0].\(key)"] != nil, "\(key)") }
  }

  @Test("no line is longer than 120")
  func width() throws {
    #expect(try Self.text().split(separator: "\n").allSatisfy { $0.count <= 120 })
  }
}
