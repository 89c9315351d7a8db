package import NIOCore
package import PoolCore

/// An API key, which is known by its hash alone.
package struct StoredKey: Equatable, Sendable {
  package enum Role: String, StoredWord, Sendable {
    case user, administrator
  }

  package var id: String
  /// Of the keys that are not revoked only one has it.
  package var name: String
  /// SHA-256 of the key: 32 bytes, of one key only.
  package var hash: [UInt8]
  package var role: Role
  /// nil for the default class.
  package var className: String?
  /// What differs from those of its class; nil where nothing does.
  package var limits: UserLimits
  package var createdAt: WallTime
  package var revokedAt: WallTime?

  package init(
    id: String, name: String, hash: [UInt8], role: Role, className: String? = nil, limits: UserLimits = UserLimits(),
    createdAt: WallTime, revokedAt: WallTime? = nil
  ) {
    self.id = id
    self.name = name
    self.hash = hash
    self.role = role
    self.className = className
    self.limits = limits
    self.createdAt = createdAt
    self.revokedAt = revokedAt
  }
}

extension QueueStore {
  /// Fails with `conflict` where there is a key of that id, name or hash.
  package func add(_ key: StoredKey) -> EventLoopFuture<Void> {
    call("storing an API key") { database in
      let holders = try database.rows("SELECT 1 FROM api_key WHERE name = ? AND revoked_at IS NULL", key.name) {
        try $0.integer()
      }
      guard holders.isEmpty || key.revokedAt != nil else {
        throw QueueStoreError(
          .conflict, "there is an API key with the name '\(key.name)' already: choose another, or revoke that one")
      }
      try database.change(
        """
        INSERT INTO api_key (id, name, hash, role, class, requests_per_hour, tokens_per_hour, concurrent, waiting,
          created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        key.id, key.name, key.hash, key.role, key.className, key.limits.requestsPerHour, key.limits.tokensPerHour,
        key.limits.concurrent, key.limits.waiting, key.createdAt, key.revokedAt)
    }
  }

  /// All keys, the revoked ones too, in the order in which they were made.
  package func keys() -> EventLoopFuture<[StoredKey]> {
    call("reading the API keys") { database in try StoredKey.all(database) }
  }

  /// Ends the use of a key. Fails with `missing` where no key in use has that id.
  package func revokeKey(_ id: String, at time: WallTime) -> EventLoopFuture<Void> {
    call("revoking an API key") { database in
      let count = try database.change(
        "UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", time, id)
      guard count > 0 else { throw QueueStoreError(.missing, "there is no API key in use with the id '\(id)'") }
    }
  }
}
