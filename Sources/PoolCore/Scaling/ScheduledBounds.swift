/// A minute of the week, by the clock on the wall.
package struct WeekTime: Hashable, Sendable {
  package static let minutesOfDay = 1_440

  /// From 0, which is Monday.
  package let day: Int
  /// From 0 to 1439.
  package let minute: Int

  package init(day: Int, minute: Int) {
    self.day = day
    self.minute = minute
  }

  var dayBefore: Int { (day + 6) % 7 }

  package func advanced(by time: Duration) -> WeekTime {
    let minutes = day * Self.minutesOfDay + minute + Int(time.seconds / 60)
    return WeekTime(day: minutes / Self.minutesOfDay % 7, minute: minutes % Self.minutesOfDay)
  }
}

/// Other bounds than the configured ones, at times of the day on days of the week.
package struct ScheduledBounds: Hashable, Sendable {
  /// From 0, which is Monday: the days on which it begins.
  package var days: Set<Int> = Set(0..<7)
  /// Minutes of the day, from 0 to 1440. What ends when it begins, or before, ends on the next day.
  package var from = 0
  package var to = 0
  /// nil: as configured.
  package var minimum: Int?
  package var maximum: Int?

  package init() {}

  package func holds(at time: WeekTime) -> Bool {
    if from < to { return days.contains(time.day) && (from..<to).contains(time.minute) }
    return days.contains(time.day) && time.minute >= from || days.contains(time.dayBefore) && time.minute < to
  }
}
