/// The line with which a program says why it can't go on: Ollama's "Error: listen tcp …", Go's "panic: …".
enum Complaint {
  private static let longest = 300

  /// What of the line goes into a reason; nil for any other line.
  static func of(_ line: String) -> String? {
    let isOne = ["Error:", "panic:", "fatal error:"].contains { line.hasPrefix($0) }
    return isOne ? String(line.prefix(longest)) : nil
  }
}
