/// Whose requests they are: a key's name, a user whom a trusted proxy names, a session, an address.
package struct UserID: Hashable, Comparable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
  package var name: String
  package init(_ name: String) { self.name = name }
  package init(stringLiteral value: String) { name = value }
  package var description: String { name }
  package static func < (one: UserID, other: UserID) -> Bool { one.name < other.name }
}
