import Glibc

/// Lines on standard error, as Ollama writes them.
enum Log {
  static func info(_ message: String, source: String = "routes.go", _ fields: KeyValuePairs<String, String> = [:]) {
    line("INFO", message, source, fields)
  }

  static func warn(_ message: String, source: String = "routes.go", _ fields: KeyValuePairs<String, String> = [:]) {
    line("WARN", message, source, fields)
  }

  static func error(_ message: String, source: String = "routes.go", _ fields: KeyValuePairs<String, String> = [:]) {
    line("ERROR", message, source, fields)
  }

  private static func line(
    _ level: String, _ message: String, _ source: String, _ fields: KeyValuePairs<String, String>
  ) {
    var text = "time=\(WallTime.now.shortText) level=\(level) source=\(source) msg=\(quoted(message))"
    for (key, value) in fields { text += " \(key)=\(quoted(value))" }
    plain(text)
  }

  static func plain(_ text: String) {
    // One write, so that lines of several processes do not mix. What cannot be written is lost, as with any log.
    let bytes = Array((text + "\n").utf8)
    _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  private static func quoted(_ value: String) -> String {
    let isPlain = !value.isEmpty && value.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 < 0x7F }
    return isPlain ? value : String(reflecting: value)
  }
}
