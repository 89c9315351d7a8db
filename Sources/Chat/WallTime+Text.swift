import FoundationEssentials
import QueueStore

extension WallTime {
  /// In UTC, to the second.
  var iso8601: String { Date(timeIntervalSince1970: Double(milliseconds) / 1000).formatted(.iso8601) }
}
