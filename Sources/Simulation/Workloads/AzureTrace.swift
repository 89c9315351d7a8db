import PoolCore

/// Microsoft's traces of LLM inference in Azure (Patel et al., Splitwise, ISCA 2024): CSV with `TIMESTAMP`,
/// `ContextTokens`, `GeneratedTokens`.
struct AzureTrace: Sendable {
  /// Which column is which, from 0.
  let time: Int
  let input: Int
  let output: Int

  func request(_ line: Substring) throws(LineProblem) -> (time: Duration, input: Int, output: Int) {
    let fields = line.fields
    guard let time = Timestamp.parse(try field(time, "TIMESTAMP", fields)) else {
      throw LineProblem("TIMESTAMP is \"\(fields[time].prefix(40))\", and not a time like 2023-11-16 18:17:03.979")
    }
    return (
      time, try TraceField.tokens(try field(input, "ContextTokens", fields), "ContextTokens"),
      try TraceField.tokens(try field(output, "GeneratedTokens", fields), "GeneratedTokens")
    )
  }

  private func field(_ index: Int, _ name: String, _ fields: [Substring]) throws(LineProblem) -> Substring {
    guard index < fields.count else { throw LineProblem("has no \(name): it has \(fields.count) columns") }
    return fields[index].trimmed
  }
}

/// What fields of traces may hold.
enum TraceField {
  static func tokens(_ text: Substring, _ name: String) throws(LineProblem) -> Int {
    guard let tokens = Int(text) else { throw LineProblem("\(name) is \"\(text.prefix(40))\", and not a whole number") }
    return try self.tokens(tokens, name)
  }

  static func tokens(_ tokens: Int, _ name: String) throws(LineProblem) -> Int {
    guard 0...Trace.mostTokens ~= tokens else {
      throw LineProblem("\(name) is \(tokens), and not from 0 to \(Trace.mostTokens)")
    }
    return tokens
  }

  /// A number that is finite and not negative.
  static func number(_ text: Substring, _ name: String, atMost most: Double) throws(LineProblem) -> Double {
    guard let number = Double(text), number >= 0, number <= most else {
      throw LineProblem("\(name) is \"\(text.prefix(40))\", and not a number from 0 to \(Int(most))")
    }
    return number
  }
}

/// Times as traces write them.
enum Timestamp {
  /// `2023-11-16 18:17:03.9799600`, also with a T, and with a zone; without one it is UTC.
  ///
  /// - Returns: since the beginning of 1970.
  static func parse(_ text: Substring) -> Duration? {
    var rest = Array(text.utf8)[...]
    func digits(_ count: Int) -> Int? {
      guard rest.count >= count else { return nil }
      var value = 0
      for byte in rest.prefix(count) {
        guard byte >= 0x30, byte <= 0x39 else { return nil }
        value = value * 10 + Int(byte - 0x30)
      }
      rest = rest.dropFirst(count)
      return value
    }
    func take(_ characters: String) -> Bool {
      guard let first = rest.first, characters.utf8.contains(first) else { return false }
      rest = rest.dropFirst()
      return true
    }
    guard let year = digits(4), take("-"), let month = digits(2), take("-"), let day = digits(2), take(" T"),
      let hour = digits(2), take(":"), let minute = digits(2), take(":"), let second = digits(2),
      1...12 ~= month, 1...31 ~= day, hour < 24, minute < 60, second <= 60
    else { return nil }
    var nanoseconds = 0
    if take(".") {
      var unit = 100_000_000
      guard rest.first.map({ 0x30...0x39 ~= $0 }) == true else { return nil }
      while let digit = digits(1) {
        nanoseconds += digit * unit
        unit /= 10
      }
    }
    var zone = 0
    if let sign = rest.first, take("+-") {
      guard let hours = digits(2), take(":") || true, let minutes = digits(2) else { return nil }
      zone = (hours * 60 + minutes) * 60 * (sign == UInt8(ascii: "+") ? 1 : -1)
    } else {
      _ = take("Zz")
    }
    guard rest.isEmpty else { return nil }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - zone
    return .seconds(seconds) + .nanoseconds(nanoseconds)
  }

  /// Days since the beginning of 1970 in the Gregorian calendar (Hinnant, "chrono-compatible low-level date
  /// algorithms").
  private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
    let shifted = month <= 2 ? year - 1 : year
    let era = shifted / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }
}
