import PoolCore

extension ValueFormat where Value == Set<Int> {
  private static var names: [String] { ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] }

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
      render: { .text("\($0 / 600)\($0 / 60 % 10):\($0 % 60 / 10)\($0 % 10)") }
    ) { text in
      let parts = text.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count == 2, parts.allSatisfy({ $0.count == 2 && $0.allSatisfy(\.isASCII) }),
        let hour = UInt8(parts[0]), let minute = UInt8(parts[1]), minute < 60
      else { return nil }
      let minutes = Int(hour) * 60 + Int(minute)
      return minutes <= WeekTime.minutesOfDay ? minutes : nil
    }
  }
}
