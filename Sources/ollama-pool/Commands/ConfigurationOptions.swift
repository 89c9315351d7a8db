import ArgumentParser
import PoolConfiguration

/// Which configuration a command reads.
struct ConfigurationOptions: ParsableArguments {
  @Option(
    name: .customLong("config"),
    help: ArgumentHelp(
      "The configuration file, and what is in the folder beside it that has .d for .yaml.",
      discussion: "Without it: \(ConfigurationReader.defaultPath), and the defaults where there is none.",
      valueName: "file"),
    completion: .file(extensions: ["yaml"]))
  var path: String?

  func read(changes: [(name: String, text: String)] = []) throws(ConfigurationError) -> LoadedConfiguration {
    try ConfigurationReader.read(path: path, changes: changes)
  }

  /// Reads it again.
  var reader: @Sendable () throws(ConfigurationError) -> LoadedConfiguration {
    { [path] () throws(ConfigurationError) in try ConfigurationReader.read(path: path) }
  }
}
