/// A value that many hold and hardly anybody changes: copies of it share one place in memory. Ten thousand requests
/// wait with the same limits and the same options.
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

  package static func == (one: Shared, other: Shared) -> Bool {
    one.place === other.place || one.place.value == other.place.value
  }

  package func hash(into hasher: inout Hasher) { place.value.hash(into: &hasher) }
}
