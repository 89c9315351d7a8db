package import PoolCore

/// Requests of the past, or such as there might be, in the order of their arrival.
package struct Workload: Hashable, Sendable {
  package private(set) var requests: [WorkloadRequest]

  /// - Parameter requests: in any order; of two that arrive at one time the first stays the first.
  package init(_ requests: [WorkloadRequest]) {
    // Traces nearly always are: of two million requests no copy is made to put them in order.
    let isInOrder = zip(requests, requests.dropFirst()).allSatisfy { $0.arrival <= $1.arrival }
    self.requests = isInOrder ? requests : Self.inOrder(requests)
  }

  private static func inOrder(_ requests: [WorkloadRequest]) -> [WorkloadRequest] {
    requests.enumerated().sorted { ($0.element.arrival, $0.offset) < ($1.element.arrival, $1.offset) }
      .map(\.element)
  }

  package var isEmpty: Bool { requests.isEmpty }

  /// Whether it tells requests for one model from those for another.
  package var hasSeveralModels: Bool {
    guard let first = requests.lazy.compactMap(\.model).first else { return false }
    return requests.contains { $0.model.map { $0 != first } ?? false }
  }

  /// From the first arrival to the last.
  package var span: Duration {
    guard let first = requests.first, let last = requests.last else { return .zero }
    return last.arrival - first.arrival
  }

  /// The same requests, so many times as close to one another.
  package func faster(by factor: Double) -> Workload {
    guard let first = requests.first?.arrival else { return self }
    return Workload(
      requests.map { request in
        var request = request
        request.arrival = first + .seconds(rounding: (request.arrival - first).seconds / factor)
        return request
      })
  }
}

/// What is known of a request beside its content.
package struct WorkloadRequest: Hashable, Sendable {
  /// Since the beginning of the trace.
  package var arrival: Instant
  /// Of the question, with all that was said before it.
  package var inputTokens: Int
  package var outputTokens: Int
  package var user: UserID
  /// Of the user's class; 0 is the first.
  package var priority: Int
  /// Its normalised name; nil where nobody knows.
  package var model: String?

  package init(
    arrival: Instant, inputTokens: Int, outputTokens: Int, user: UserID = "", priority: Int = 0, model: String? = nil
  ) {
    self.arrival = arrival
    self.inputTokens = inputTokens
    self.outputTokens = outputTokens
    self.user = user
    self.priority = priority
    self.model = model
  }
}
