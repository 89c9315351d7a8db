import Glibc

enum SystemMessage {
  /// The text of an error number, in lower case as Go writes it.
  static func of(_ code: Int32) -> String {
    let text = String(cString: strerror(code))
    return text.prefix(1).lowercased() + text.dropFirst()
  }
}

enum Environment {
  /// This process's variables.
  static var current: [String: String] {
    var variables: [String: String] = [:]
    var next = environ
    while let entry = next.pointee {
      let pair = String(cString: entry).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      variables[String(pair[0])] = pair.count > 1 ? String(pair[1]) : ""
      next += 1
    }
    return variables
  }
}

/// Points in time as the API writes them.
struct WallTime: Sendable {
  /// Since 1970.
  let seconds: Int
  let nanoseconds: Int

  static var now: WallTime {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return WallTime(seconds: time.tv_sec, nanoseconds: time.tv_nsec)
  }

  /// Far enough for "for ever"; Ollama's clients show years.
  static var farFuture: WallTime { now.advanced(bySeconds: 290 * 365.25 * 86_400) }

  /// Since 1970.
  var milliseconds: Int { seconds * 1000 + nanoseconds / 1_000_000 }

  func advanced(bySeconds interval: Double) -> WallTime {
    WallTime(seconds: seconds + Int(interval), nanoseconds: nanoseconds)
  }

  /// RFC 3339 with nanoseconds, in UTC.
  var text: String { format(fraction: nanoseconds, digits: 9) }
  /// The same with milliseconds.
  var shortText: String { format(fraction: nanoseconds / 1_000_000, digits: 3) }

  /// As the header `Date` has it.
  var httpText: String {
    let (parts, time) = calendar
    let day = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][Int(parts.tm_wday)]
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    let date = "\(padded(Int(parts.tm_mday), 2)) \(months[Int(parts.tm_mon)]) \(1900 + Int(parts.tm_year))"
    return "\(day), \(date) \(time) GMT"
  }

  private func format(fraction: Int, digits: Int) -> String {
    let (parts, time) = calendar
    let date = "\(1900 + Int(parts.tm_year))-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
    return "\(date)T\(time).\(padded(fraction, digits))Z"
  }

  /// The parts in UTC, and the time of the day in text.
  private var calendar: (tm, String) {
    var parts = tm()
    var seconds = seconds
    gmtime_r(&seconds, &parts)
    let time = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded(Int($0), 2) }.joined(separator: ":")
    return (parts, time)
  }

  private func padded(_ number: Int, _ width: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
  }
}
