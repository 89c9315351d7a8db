/// A condition that did not come true in time, with what it was waiting for and the last thing that went wrong.
package struct NeverHappened: Error, CustomStringConvertible {
  package let description: String
}

/// Waits until `condition` is true. An error thrown by it counts as "not yet" and is shown if the time runs out.
///
/// This is the only place where tests pause: everything else waits for something to be true.
/// - Parameters:
///   - limit: how long the condition may take before the wait fails with ``NeverHappened``.
///   - pause: the time between two looks.
///   - expectation: what should come true, as a clause: "the unit is active".
package func eventually(
  within limit: Duration = .seconds(30), every pause: Duration = .milliseconds(10), _ expectation: String,
  isolation: isolated (any Actor)? = #isolation, condition: () async throws -> Bool
) async throws {
  _ = try await eventualValue(within: limit, every: pause, expectation) { try await condition() ? true : nil }
}

/// Waits until `value` returns something, and returns it. See ``eventually(within:every:_:isolation:condition:)``.
package func eventualValue<Value>(
  within limit: Duration = .seconds(30), every pause: Duration = .milliseconds(10), _ expectation: String,
  isolation: isolated (any Actor)? = #isolation, value: () async throws -> Value?
) async throws -> Value {
  let clock = ContinuousClock()
  let deadline = clock.now + limit
  while true {
    var failure: (any Error)?
    do {
      if let value = try await value() { return value }
    } catch {
      failure = error
    }
    try Task.checkCancellation()
    guard clock.now < deadline else {
      let reason = failure.map { "; the last look failed: \($0)" } ?? ""
      throw NeverHappened(description: "not within \(limit): \(expectation)\(reason)")
    }
    try await Task.sleep(for: pause)
  }
}
