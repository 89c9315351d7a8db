/// The name of an instance, which is the name of its placement: `gpu0`, `cpu0`.
package struct InstanceID: Hashable, Comparable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
  package var name: String
  package init(_ name: String) { self.name = name }

  /// A name from outside: 1 to 32 of `[a-z0-9_.-]`, since it becomes part of a unit's name; `nil` for any other.
  package init?(validating text: some StringProtocol) {
    let isName = text.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
      case UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"): true
      default: false
      }
    }
    guard isName, (1...32).contains(text.utf8.count) else { return nil }
    name = String(text)
  }

  package init(stringLiteral value: String) { name = value }
  package var description: String { name }
  package static func < (lhs: InstanceID, rhs: InstanceID) -> Bool { lhs.name < rhs.name }
}

/// One life of an instance: systemd's InvocationID, or what the launcher of child processes makes up in its place.
/// An order that names a stale invocation is refused, so that it can't hit the successor.
package struct InvocationID: Hashable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
  package var text: String
  package init(_ text: String) { self.text = text }
  package init(stringLiteral value: String) { text = value }
  package var description: String { text }
}

/// A request's number: one more for each arrival in a dispatcher's life, so its order is the order of arrival.
package struct RequestID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package var number: UInt64
  package init(_ number: UInt64) { self.number = number }
  package var description: String { String(number) }
  package static func < (lhs: RequestID, rhs: RequestID) -> Bool { lhs.number < rhs.number }
}
