/// How long an idle model stays loaded.
package enum KeepAlive: Sendable, Hashable {
  case forever
  case duration(Duration)

  /// `forever`, any negative number as Ollama has it, or a duration.
  package init?(parsing text: String) {
    if text == "forever" || text.hasPrefix("-") && DurationText.parse(String(text.dropFirst())) != nil {
      self = .forever
    } else if let duration = DurationText.parse(text) {
      self = .duration(duration)
    } else {
      return nil
    }
  }

  /// As OLLAMA_KEEP_ALIVE takes it.
  package var environmentValue: String {
    switch self {
    case .forever: "-1"
    case .duration(let duration): DurationText.render(duration)
    }
  }
}
