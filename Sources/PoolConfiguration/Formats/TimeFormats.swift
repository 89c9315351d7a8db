import Glibc
package import PoolCore

extension WeekTime {
  fileprivate static let dayNames = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

  /// `mon 08:30`.
  package init?(parsing text: String) {
    let parts = text.split(separator: " ", omittingEmptySubsequences: false)
    guard parts.count == 2, let day = Self.dayNames.firstIndex(of: String(parts[0])),
      let minute = TimeOfDay.minutes(parts[1]), minute < Self.minutesOfDay
    else { return nil }
    self.init(day: day, minute: minute)
  }

  /// By the clock on the wall, in the time zone of the machine.
  package init(secondsSince1970 seconds: Int) {
    var (seconds, parts) = (time_t(seconds), tm())
    localtime_r(&seconds, &parts)
    // There Sunday is the first day.
    self.init(day: (Int(parts.tm_wday) + 6) % 7, minute: Int(parts.tm_hour) * 60 + Int(parts.tm_min))
  }

  package var description: String { "\(Self.dayNames[day]) \(TimeOfDay.text(minute))" }
}

private enum TimeOfDay {
  static func text(_ minutes: Int) -> String {
    "\(minutes / 600)\(minutes / 60 % 10):\(minutes % 60 / 10)\(minutes % 10)"
  }

  /// Minutes of the day, up to `24:00`.
  static func minutes(_ text: some StringProtocol) -> Int? {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ $0.count == 2 && $0.allSatisfy(\.isASCII) }),
      let hour = UInt8(parts[0]), let minute = UInt8(parts[1]), minute < 60
    else { return nil }
    let minutes = Int(hour) * 60 + Int(minute)
    return minutes <= WeekTime.minutesOfDay ? minutes : nil
  }
}

extension ValueFormat where Value == Set<Int> {
  private static var names: [String] { WeekTime.dayNames }

  /// Days of the week, 0 for Monday, as `daily`, `mon-fri` or `fri-mon, wed`.
  static var days: Self {
    .scalar("daily, or days such as mon-fri or sat, sun", render: { .text(text($0)) }) { text in
      if text == "daily" { return Set(0..<7) }
      var days: Set<Int> = []
      for part in text.filter({ $0 != " " }).split(separator: ",", omittingEmptySubsequences: false) {
        let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { names.firstIndex(of: String($0)) }
        guard let first = ends.first ?? nil, let last = ends.last ?? nil, ends.count <= 2 else { return nil }
        days.formUnion((0..<(last - first + 7) % 7 + 1).map { (first + $0) % 7 })
      }
      return days
    }
  }

  private static func text(_ days: Set<Int>) -> String {
    if days.count == 7 { return "daily" }
    // From a day that the one before is not part of, so that fri-mon stays together.
    let start = days.sorted().first { !days.contains(($0 + 6) % 7) } ?? 0
    var runs: [ClosedRange<Int>] = []
    for day in (start..<start + 7) where days.contains(day % 7) {
      if let last = runs.last, last.upperBound == day - 1 {
        runs[runs.count - 1] = last.lowerBound...day
      } else {
        runs.append(day...day)
      }
    }
    return runs.map { run in
      let (first, last) = (names[run.lowerBound % 7], names[run.upperBound % 7])
      return run.count == 1 ? first : "\(first)-\(last)"
    }.joined(separator: ",")
  }
}

extension ValueFormat where Value == Int {
  /// Minutes of the day, as `08:30`, up to `24:00`.
  static var timeOfDay: Self {
    .scalar(
      "a time from 00:00 to 24:00, such as 08:30",
      render: { .text(TimeOfDay.text($0)) }
    ) { TimeOfDay.minutes($0) }
  }
}
