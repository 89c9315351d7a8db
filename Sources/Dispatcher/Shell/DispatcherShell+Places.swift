import Gateway
import NIOCore
import OllamaAPI
import PoolCore

/// Who wants to hear where a request stands, and when they hear it.
struct PlaceWatch {
  var watchers: [RequestID: (WaitingEstimate) -> Void] = [:]
  /// Requests whose clients hear their place in comments, and when they last heard something.
  var commented: [RequestID: Instant] = [:]
  var lastAt: Instant?
  var isDue = false
  /// What is still to be told this time.
  var untold: ArraySlice<(id: RequestID, estimate: WaitingEstimate)> = []
}

extension DispatcherShell {
  /// Between two updates of the same place.
  private static let updatePause = Duration.seconds(1)
  /// Changes that come at nearly the same time are told together.
  private static let updateQuiet = Duration.milliseconds(20)
  /// Many places change at once, and are told in slices: nobody else waits longer for it.
  private static let slice = 200
  /// Without a word for so long, a client hears one that says nothing.
  private static let heartbeat = Duration.seconds(13)

  /// Tells at once where a request stands, if it waits, and then whenever that changes.
  func watchPlace(of id: RequestID, _ tell: @escaping (WaitingEstimate) -> Void) {
    places.watchers[id] = tell
    if let estimate = estimate(for: id) { tell(estimate) }
  }

  func unwatchPlace(of id: RequestID) { places.watchers[id] = nil }

  /// The queue may have changed.
  func placesChanged() {
    guard !places.isDue, places.untold.isEmpty, !places.watchers.isEmpty else { return }
    places.isDue = true
    let now = Instant.now
    let due = places.lastAt.map { max(now + Self.updateQuiet, $0 + Self.updatePause) } ?? now + Self.updateQuiet
    loop.assumeIsolated().scheduleTask(in: .nanoseconds((due - now).nanoseconds)) { [self] in
      places.isDue = false
      guard !isClosed else { return }
      places.lastAt = .now
      places.untold = estimates()[...]
      tellPlaces()
    }
  }

  private func tellPlaces() {
    for (id, estimate) in places.untold.prefix(Self.slice) where core.order.isWaiting(id) {
      places.watchers[id]?(estimate)
    }
    places.untold = places.untold.dropFirst(Self.slice)
    guard !places.untold.isEmpty, !isClosed else { return }
    loop.assumeIsolated().execute { [self] in tellPlaces() }
  }

  // MARK: In comments

  /// Has the client of a stream hear where its request stands, if it wants to.
  func commentPlace(of exchange: Exchange) {
    let id = exchange.id
    guard estimate(for: id) != nil, exchange.beginEarly() else { return }
    var told: QueuePlace?
    places.commented[id] = .now
    watchPlace(of: id) { [unowned self, unowned exchange] estimate in
      let place = QueuePlace(estimate)
      guard place != told else { return }
      told = place
      places.commented[id] = .now
      var json = JSONWriter()
      json.object(of: place)
      exchange.comment(String(decoding: json.bytes, as: UTF8.self))
    }
  }

  func uncomment(_ id: RequestID) {
    guard places.commented.removeValue(forKey: id) != nil else { return }
    unwatchPlace(of: id)
  }

  /// A client that has heard nothing for a while hears that it is not forgotten.
  func beat() {
    let now = Instant.now
    for (id, last) in places.commented where now - last >= Self.heartbeat {
      places.commented[id] = now
      carried[id]?.exchange.comment("")
    }
  }
}
