/// How urgent an entry is: the levels of syslog(3).
package enum JournalPriority: Int, Sendable, CaseIterable, Comparable {
  case emergency, alert, critical, error, warning, notice, info, debug

  /// As journalctl's `-p` names it.
  package var name: String {
    switch self {
    case .emergency: "emerg"
    case .alert: "alert"
    case .critical: "crit"
    case .error: "err"
    case .warning: "warning"
    case .notice: "notice"
    case .info: "info"
    case .debug: "debug"
    }
  }

  /// The more urgent is the smaller, as in syslog.
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// One event as the journal keeps it.
package struct JournalEntry: Equatable, Sendable {
  /// A value that is longer, in UTF-8, is cut there.
  package static let longestValue = 16_384

  package var message: String
  package var priority: JournalPriority
  /// 32 hexadecimal digits that name the kind of event, for the catalog (`journalctl -x`).
  package var messageID: String?
  /// Further fields, such as POOL_INSTANCE. Names are uppercase letters, digits and underscores, begin with a letter,
  /// and have at most 64 characters; a field whose name is not like that is left out, as journald would do.
  /// Values may be anything, line breaks too.
  package var fields: [(name: String, value: String)]

  package init(
    _ message: String, priority: JournalPriority = .info, messageID: String? = nil,
    fields: [(name: String, value: String)] = []
  ) {
    self.message = message
    self.priority = priority
    self.messageID = messageID
    self.fields = fields
  }

  package static func == (left: Self, right: Self) -> Bool {
    left.message == right.message && left.priority == right.priority && left.messageID == right.messageID
      && left.fields.elementsEqual(right.fields, by: ==)
  }

  static func isValid(fieldName name: String) -> Bool {
    guard let first = name.utf8.first, (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(first) else { return false }
    return name.utf8.count <= 64
      && name.utf8.allSatisfy {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
          || $0 == UInt8(ascii: "_")
      }
  }

  /// The fields as sd_journal_sendv takes them: "NAME=value".
  func encoded(identifier: String) -> [[UInt8]] {
    var pairs = [
      ("MESSAGE", message), ("PRIORITY", String(priority.rawValue)), ("SYSLOG_IDENTIFIER", identifier),
    ]
    if let messageID { pairs.append(("MESSAGE_ID", messageID)) }
    let reserved = Set(pairs.map(\.0))
    pairs += fields.filter { Self.isValid(fieldName: $0.name) && !reserved.contains($0.name) }
    return pairs.map { name, value in Array(name.utf8) + [UInt8(ascii: "=")] + value.utf8.prefix(Self.longestValue) }
  }

  /// A line of text for where there is no journal. Control characters, which a terminal would obey, are replaced, and
  /// further lines of the message are indented, so that none can pass for an entry of its own.
  func line(identifier: String, time: String) -> String {
    var text = ""
    for scalar in message.unicodeScalars.prefix(Self.longestValue) {
      switch scalar {
      case "\n": text += "\n    "
      case "\t": text += " "
      default: text.unicodeScalars.append(scalar.properties.generalCategory == .control ? "\u{FFFD}" : scalar)
      }
    }
    return "\(time) \(priority.name) \(identifier): \(text)\n"
  }

  /// About what it costs to keep.
  var size: Int { fields.reduce(message.utf8.count + 64) { $0 + $1.name.utf8.count + $1.value.utf8.count } }
}
