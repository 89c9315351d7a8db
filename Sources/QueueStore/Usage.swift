import GRDB
package import NIOCore

/// What a user had in one minute.
package struct StoredUsage: Equatable, Sendable {
  package var user: String
  /// See ``WallTime/minute``.
  package var minute: Int64
  package var requests: Int
  package var tokens: Int

  package init(user: String, minute: Int64, requests: Int, tokens: Int) {
    self.user = user
    self.minute = minute
    self.requests = requests
    self.tokens = tokens
  }
}

extension QueueStore {
  /// Replaces what is stored for each of these users and minutes: sums, and not what was added, so that it may be said
  /// again.
  package func set(_ usage: [StoredUsage]) -> EventLoopFuture<Void> {
    call("storing usage") { database in try database.set(usage) }
  }

  /// Replaces all that is stored, as after the clock was set.
  package func replaceUsage(with usage: [StoredUsage]) -> EventLoopFuture<Void> {
    call("storing usage") { database in
      try database.change("DELETE FROM usage")
      try database.set(usage)
    }
  }

  /// Deletes what is said to have been used from a minute on, as after the clock was set back.
  package func deleteUsage(from minute: Int64) -> EventLoopFuture<Void> {
    call("deleting usage") { database in try database.change("DELETE FROM usage WHERE minute >= ?", minute) }
  }

  /// Deletes what was used before a minute.
  package func deleteUsage(before minute: Int64) -> EventLoopFuture<Void> {
    call("deleting usage") { database in try database.change("DELETE FROM usage WHERE minute < ?", minute) }
  }
}

extension Database {
  fileprivate func set(_ usage: [StoredUsage]) throws {
    for usage in usage {
      try change(
        """
        INSERT INTO usage (user, minute, requests, tokens) VALUES (?, ?, ?, ?)
        ON CONFLICT (user, minute) DO UPDATE SET requests = excluded.requests, tokens = excluded.tokens
        """,
        usage.user, usage.minute, usage.requests, usage.tokens)
    }
  }
}
