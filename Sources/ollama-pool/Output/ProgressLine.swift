import Glibc

/// A line on the terminal that is written over and over; nothing where there is no terminal.
struct ProgressLine {
  private let width = isatty(STDERR_FILENO) == 1 ? (Terminal.current.width ?? 80) : 0

  func show(_ text: String) { write(String(text.prefix(max(0, width - 1)))) }
  func end() { write("") }

  private func write(_ text: String) {
    guard width > 0 else { return }
    let bytes = Array("\r\u{1b}[K\(text)".utf8)
    _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
  }
}
