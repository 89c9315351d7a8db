/// The model store and the reloads, as people read them.
enum ModelsText {
  static func store(_ status: PoolStatus) -> String? {
    guard let store = status.store else { return nil }
    let place = "\(store.path) (by \(store.source)), owned by \(store.owner)"
    let writing =
      store.refusal.map { "never written: \($0)" }
      ?? store.writer.map { "written by \($0) alone" } ?? "written by nobody while no instance serves"
    return Printable.text("\(place); \(writing)")
  }

  /// So many are shown, the latest.
  private static let mostReloads = 5

  /// A line for each model and client, and what helps against them.
  static func reloads(_ all: [PoolStatus.Reloads]) -> [String] {
    let shown = all.suffix(mostReloads).reversed()
    guard !shown.isEmpty else { return [] }
    return shown.map(line) + remedies(shown)
  }

  private static func line(_ reloads: PoolStatus.Reloads) -> String {
    let differences = OptionDifference.between(reloads.from, reloads.to).map {
      "\($0.option) \($0.from ?? "default") → \($0.to ?? "default")"
    }
    let options = differences.isEmpty ? "" : ": \(differences.joined(separator: ", "))"
    return Printable.text(
      "\(reloads.model), \(Quantity.count(reloads.count, "time")) for the client at \(reloads.client), last on "
        + "\(reloads.instance) \(Quantity.duration(seconds: reloads.secondsAgo)) ago\(options)")
  }

  private static func remedies(_ reloads: some Sequence<PoolStatus.Reloads>) -> [String] {
    var lengths: [String: Int] = [:]
    var withDefault: Set<String> = []
    var others: Set<String> = []
    for reload in reloads {
      for difference in OptionDifference.between(reload.from, reload.to) {
        guard difference.option == "num_ctx" else {
          others.insert(difference.option)
          continue
        }
        let longest = [difference.from, difference.to].compactMap { $0.flatMap { Int($0) } }.max() ?? 0
        lengths[reload.model] = max(lengths[reload.model] ?? 0, longest)
        if difference.from == nil || difference.to == nil { withDefault.insert(reload.model) }
      }
    }
    var lines: [String] = []
    let known = lengths.filter { !withDefault.contains($0.key) }
    if !known.isEmpty {
      let models = known.sorted { $0.key < $1.key }.map { "\(name($0.key)): {num_ctx: \($0.value)}" }
      lines.append(
        "one num_ctx for all requests ends it; in the configuration: " + "models: {\(models.joined(separator: ", "))}")
    }
    // How long the default is, is not known here: what clients ask for may be shorter, and would cut off everybody
    // else.
    if let longest = withDefault.compactMap({ lengths[$0] }).max() {
      let models = withDefault.sorted().map { "\(name($0)): {num_ctx: N}" }
      lines.append(
        "one length for all requests ends it, also for OpenAI's and Anthropic's APIs, which can't name one; in the "
          + "configuration both: context_length: N, models: {\(models.joined(separator: ", "))}, where N is the larger of "
          + "\(longest) and the default")
    }
    if !others.isEmpty {
      lines.append("clients of a model that send the same \(others.sorted().joined(separator: ", ")), or none, end it")
    }
    return lines.map { "→ " + Printable.text($0) }
  }

  /// As it can stand in YAML.
  private static func name(_ model: String) -> String {
    let isPlain = model.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "_-./".contains($0)) }
    return isPlain
      ? model : "'" + model.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
  }
}
