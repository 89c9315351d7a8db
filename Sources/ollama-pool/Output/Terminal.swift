import Glibc

/// Where a command's output goes.
struct Terminal: Equatable {
  /// In columns; nil where it is no terminal, and lines may be of any length.
  var width: Int?
  var hasColours: Bool

  /// What standard output is.
  static var current: Terminal {
    guard isatty(STDOUT_FILENO) == 1 else { return Terminal(width: nil, hasColours: false) }
    // struct winsize of ioctl_tty(2), whose members Glibc's overlay keeps from importers.
    var size: (rows: UInt16, columns: UInt16, xPixels: UInt16, yPixels: UInt16) = (0, 0, 0, 0)
    let isKnown = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.columns > 0
    let refusesColours = Environment["NO_COLOR"] != nil || Environment["TERM"] == "dumb"
    return Terminal(width: isKnown ? Int(size.columns) : 80, hasColours: !refusesColours)
  }

  static let clearScreen = "\u{1b}[H\u{1b}[2J\u{1b}[3J"
}

/// The process's environment. An empty variable counts as none.
enum Environment {
  static subscript(name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
  }
}
