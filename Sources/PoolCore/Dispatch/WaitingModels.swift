import DequeModule

/// Requests that wait for a slot, by what they want: whoever may take some of them only finds the first of these
/// without a walk past all others.
///
/// A request's number is its place in the order of arrival.
struct WaitingModels: Sendable {
  private var byKind: [DispatchRequest.Kind: Deque<RequestID>] = [:]
  private var byModel: [String?: Deque<RequestID>] = [:]

  /// The models that requests wait for.
  var models: [String?] { Array(byModel.keys) }

  /// In the order of arrival.
  func waiting(for kind: DispatchRequest.Kind) -> Deque<RequestID> { byKind[kind] ?? [] }
  func waiting(forModel model: String?) -> Deque<RequestID> { byModel[model] ?? [] }

  mutating func insert(_ request: DispatchRequest) {
    byKind[request.kind, default: []].insertSorted(request.id)
    byModel[request.model, default: []].insertSorted(request.id)
  }

  mutating func remove(_ request: DispatchRequest) {
    byKind[request.kind]?.removeSorted(request.id)
    byModel[request.model]?.removeSorted(request.id)
    // Clients make the names up.
    if byKind[request.kind]?.isEmpty == true { byKind[request.kind] = nil }
    if byModel[request.model]?.isEmpty == true { byModel[request.model] = nil }
  }
}

extension Deque<RequestID> {
  /// The first place whose request did not come before `id`.
  private func place(of id: RequestID) -> Int {
    // Nearly always the first or behind the last.
    guard let first, first < id else { return 0 }
    guard let last, last >= id else { return count }
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < id { low = middle + 1 } else { high = middle }
    }
    return low
  }

  fileprivate mutating func insertSorted(_ id: RequestID) {
    let place = place(of: id)
    if place == count || self[place] != id { insert(id, at: place) }
  }

  fileprivate mutating func removeSorted(_ id: RequestID) {
    let place = place(of: id)
    guard place < count, self[place] == id else { return }
    if place == 0 { removeFirst() } else { remove(at: place) }
  }
}
