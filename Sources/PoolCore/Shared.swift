/// A value that many hold and hardly anybody changes: copies of it share one place in memory. Ten thousand requests
/// wait with the same limits and the same options, and each event looks at all that is known of each instance.
@dynamicMemberLookup
@propertyWrapper
package struct Shared<Value: Hashable & Sendable>: Hashable, Sendable {
  private final class Place: Sendable {
    let value: Value

    init(_ value: Value) { self.value = value }
  }

  private var place: Place

  package init(wrappedValue: Value) { place = Place(wrappedValue) }

  package var wrappedValue: Value {
    get { place.value }
    set { if newValue != place.value { place = Place(newValue) } }
  }

  /// To be handed on as it is: what is made of the value alone gets a place of its own.
  package var projectedValue: Shared {
    get { self }
    set { self = newValue }
  }

  package subscript<Member>(dynamicMember member: KeyPath<Value, Member>) -> Member { place.value[keyPath: member] }

  package subscript<Member>(dynamicMember member: WritableKeyPath<Value, Member>) -> Member {
    get { place.value[keyPath: member] }
    set {
      var value = place.value
      value[keyPath: member] = newValue
      place = Place(value)
    }
  }

  package static func == (one: Shared, other: Shared) -> Bool {
    one.place === other.place || one.place.value == other.place.value
  }

  package func hash(into hasher: inout Hasher) { place.value.hash(into: &hasher) }
}
