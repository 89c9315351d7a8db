/// Settings, and where they came from.
package struct LoadedConfiguration: Sendable, Equatable {
  package var settings: Settings

  /// The files read, in the order in which they applied. Empty: all is by default.
  package var files: [String]

  /// Where each value that a file gave stands, by its path such as `scaling.min`.
  package var positions: [String: ConfigurationPosition]

  /// That of a pool without a file.
  package static let `default` = LoadedConfiguration(settings: Settings(), files: [], positions: [:])
}

/// Reads the configuration: the file, then the drop-ins beside it. Maps merge, lists and scalars replace.
///
/// Strict: what isn't known, isn't of the right type or can't be is an error. Either everything is right, or nothing is
/// taken over.
package enum ConfigurationReader {
  package static let defaultPath = "/etc/ollama-pool/ollama-pool.yaml"

  /// - Parameter path: the file that `--config` names, which must exist; `nil`: `defaultPath`, which needn't.
  /// - Parameter changes: what counts beyond the files, such as `scaling.min: 2`, each with a name for errors.
  package static func read(
    path: String?, changes: [(name: String, text: String)] = []
  ) throws(ConfigurationError) -> LoadedConfiguration {
    try read(path ?? defaultPath, mustExist: path != nil, changes: changes)
  }

  package static func read(
    _ path: String, mustExist: Bool, changes: [(name: String, text: String)] = []
  ) throws(ConfigurationError) -> LoadedConfiguration {
    var reading = Reading()
    var settings = Settings()
    var files: [String] = []
    if apply(path, mustExist: mustExist, to: &settings, &reading) { files.append(path) }
    do throws(ConfigurationFiles.Failure) {
      for dropIn in try ConfigurationFiles.dropIns(besides: path)
      where apply(dropIn, mustExist: true, to: &settings, &reading) {
        files.append(dropIn)
      }
    } catch {
      reading.report(problem(error, file: path, key: "drop-ins"))
    }
    for change in changes { apply(text: change.text, file: change.name, to: &settings, &reading) }
    return try finish(settings, files, reading)
  }

  /// Reads one text as if it were the file `name`.
  package static func read(text: String, name: String) throws(ConfigurationError) -> LoadedConfiguration {
    var reading = Reading()
    var settings = Settings()
    apply(text: text, file: name, to: &settings, &reading)
    return try finish(settings, [name], reading)
  }

  /// Whether the file was there.
  private static func apply(
    _ file: String, mustExist: Bool, to settings: inout Settings, _ reading: inout Reading
  ) -> Bool {
    do throws(ConfigurationFiles.Failure) {
      apply(text: try ConfigurationFiles.read(file), file: file, to: &settings, &reading)
    } catch {
      if error == .missing, !mustExist { return false }
      reading.begin(file: file)
      reading.report(problem(error, file: file, key: "file"))
    }
    return true
  }

  private static func apply(text: String, file: String, to settings: inout Settings, _ reading: inout Reading) {
    reading.begin(file: file)
    if let root = YAMLDocument.compose(text, into: &reading) {
      SettingsKeys.all.read(root, "", into: &settings, &reading)
    }
  }

  private static func finish(
    _ settings: Settings, _ files: [String], _ reading: Reading
  ) throws(ConfigurationError) -> LoadedConfiguration {
    // Contradictions between values that were not all read would mislead.
    let problems = reading.problems.isEmpty ? settings.contradictions(reading.positions) : reading.problems
    guard problems.isEmpty else {
      let shown = max(reading.problems.count, ConfigurationError.problemsPerFile)
      throw ConfigurationError(
        problems: Array(problems.prefix(shown)), omitted: reading.omitted + max(0, problems.count - shown))
    }
    return LoadedConfiguration(settings: settings, files: files, positions: reading.positions)
  }

  private static func problem(
    _ failure: ConfigurationFiles.Failure, file: String, key: String
  ) -> ConfigurationProblem {
    let (line, what, expected) =
      switch failure {
      case .missing: (0, "does not exist", "a configuration file; without --config the defaults apply")
      case .unreadable(let reason): (0, "can't be read: \(reason)", "a file that this user may read")
      case .tooLarge where key == "drop-ins":
        (0, "are too many", "at most \(ConfigurationFiles.dropInLimit) files")
      case .tooLarge: (0, "is too large", "at most \(ByteCount(bytes: ConfigurationFiles.sizeLimit))")
      case .notARegularFile: (0, "is no regular file", "a regular file or a link to one")
      case .notUTF8(let line): (line, "holds bytes that are no UTF-8", "UTF-8")
      }
    return ConfigurationProblem(
      at: ConfigurationPosition(file: file, line: line, column: line > 0 ? 1 : 0), key: key, what, expected: expected)
  }
}
