package import PoolCore

/// API keys, as the command line makes, lists and revokes them.
extension DispatcherTypes {
  package enum KeyRole: String, Codable, Sendable, CaseIterable { case user, administrator }

  package struct Key: Codable, Equatable, Sendable {
    package var id: String
    package var name: String
    package var role: KeyRole
    package var `class`: String
    package var requestsPerHour: Int?
    package var tokensPerHour: Int?
    package var concurrent: Int?
    package var waiting: Int?
    package var createdSecondsAgo: Double

    /// - Parameter caller: who comes in by it.
    package init(_ grant: AccessRules.KeyGrant, _ caller: Caller, createdSecondsAgo: Double) {
      id = grant.id
      name = grant.name
      role = grant.role == .administrator ? .administrator : .user
      `class` = caller.className
      let limits = caller.share.limits
      requestsPerHour = limits.requestsPerHour
      tokensPerHour = limits.tokensPerHour
      concurrent = limits.concurrent
      waiting = limits.waiting
      self.createdSecondsAgo = createdSecondsAgo
    }
  }
}

extension DispatcherCalls {
  package struct AddKey: Codable, Equatable, Sendable {
    /// Keys in use.
    package static let mostKeys = 10_000
    package static let longestName = 64
    package static let nameRule =
      "1 to \(longestName) of A-Z, a-z, 0-9 and . _ @ + -, the first a letter or a digit"
    /// Of each limit.
    package static let limits = 1...1_000_000_000

    package var name: String
    package var role: DispatcherTypes.KeyRole
    package var `class`: String?
    package var requestsPerHour: Int?
    package var tokensPerHour: Int?
    package var concurrent: Int?
    package var waiting: Int?

    package init(
      name: String, role: DispatcherTypes.KeyRole = .user, className: String? = nil, requestsPerHour: Int? = nil,
      tokensPerHour: Int? = nil, concurrent: Int? = nil, waiting: Int? = nil
    ) {
      self.name = name
      self.role = role
      `class` = className
      self.requestsPerHour = requestsPerHour
      self.tokensPerHour = tokensPerHour
      self.concurrent = concurrent
      self.waiting = waiting
    }

    package static func isName(_ name: String) -> Bool {
      func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"):
          true
        default: false
        }
      }
      return (1...longestName).contains(name.utf8.count) && name.utf8.first.map(isAlphanumeric) == true
        && name.utf8.allSatisfy { isAlphanumeric($0) || "._@+-".utf8.contains($0) }
    }

    /// The limits by the names of their parameters.
    package var namedLimits: [(name: String, value: Int?)] {
      [
        ("requestsPerHour", requestsPerHour), ("tokensPerHour", tokensPerHour), ("concurrent", concurrent),
        ("waiting", waiting),
      ]
    }
  }

  package struct AddKeyReply: Codable, Equatable, Sendable {
    package var id: String
    package var key: String
    package init(id: String, key: String) {
      self.id = id
      self.key = key
    }
  }

  package struct ListKeysReply: Codable, Equatable, Sendable {
    package var keys: [DispatcherTypes.Key]
    package init(keys: [DispatcherTypes.Key]) { self.keys = keys }
  }

  package struct RevokeKey: Codable, Equatable, Sendable {
    package var key: String
    package init(key: String) { self.key = key }
  }

  package struct RevokeKeyReply: Codable, Equatable, Sendable {
    package var id: String
    package var name: String
    package init(id: String, name: String) {
      self.id = id
      self.name = name
    }
  }
}
