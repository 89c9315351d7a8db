import Chat
import Gateway
import NIOCore
import OllamaAPI
import PoolCore

/// Who hears where a request stands, and when: the chat, and those who hear it in comments.
struct PlaceWatch {
  /// Requests whose clients hear their place in comments.
  var commented: [RequestID: Comments] = [:]
  var lastAt: Instant?
  var isDue = false
  /// What is still to be told this time.
  var untold: ArraySlice<(id: RequestID, estimate: WaitingEstimate)> = []
  /// Of the core, when that was found out.
  var revision = 0

  struct Comments {
    /// The place that was told last.
    var told: QueuePlace?
    /// When something was.
    var lastAt: Instant
  }
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

  func place(of id: RequestID) -> QueuePlace? { estimate(for: id).map { QueuePlace($0) } }

  /// The queue may have changed.
  func placesChanged() {
    guard !places.isDue, places.untold.isEmpty, chat?.followsPlaces == true || !places.commented.isEmpty else {
      return
    }
    places.isDue = true
    let now = Instant.now
    let due = places.lastAt.map { max(now + Self.updateQuiet, $0 + Self.updatePause) } ?? now + Self.updateQuiet
    loop.assumeIsolated().scheduleTask(in: .nanoseconds((due - now).nanoseconds)) { [self] in
      places.isDue = false
      guard !isClosed else { return }
      places.lastAt = .now
      places.untold = estimates()[...]
      places.revision = core.revision
      tellPlaces()
    }
  }

  private func tellPlaces() {
    for (id, estimate) in places.untold.prefix(Self.slice) {
      guard core.revision == places.revision || core.order.isWaiting(id) else { continue }
      let place = QueuePlace(estimate)
      if chat?.tell(place, to: id) != true { comment(place, to: id) }
    }
    let left = places.untold.dropFirst(Self.slice)
    // An empty slice would keep all that it was cut from.
    places.untold = left.isEmpty ? [] : left
    guard !isClosed else { return }
    if !left.isEmpty {
      loop.assumeIsolated().execute { [self] in tellPlaces() }
    } else if core.revision != places.revision {
      // Something has changed meanwhile.
      placesChanged()
    }
  }

  // MARK: In comments

  /// Has the client of a stream hear where its request stands, if it wants to.
  func commentPlace(of exchange: Exchange) {
    guard let place = place(of: exchange.id), exchange.beginEarly() else { return }
    places.commented[exchange.id] = PlaceWatch.Comments(lastAt: .now)
    comment(place, to: exchange.id)
  }

  private func comment(_ place: QueuePlace, to id: RequestID) {
    guard let comments = places.commented[id], comments.told != place else { return }
    places.commented[id] = PlaceWatch.Comments(told: place, lastAt: .now)
    var json = JSONWriter()
    json.object(of: place)
    carried[id]?.exchange.comment(json.bytes)
  }

  func uncomment(_ id: RequestID) { places.commented[id] = nil }

  /// A client that has heard nothing for a while hears that it is not forgotten.
  func beat() {
    let now = Instant.now
    for (id, comments) in places.commented where now - comments.lastAt >= Self.heartbeat {
      places.commented[id]?.lastAt = now
      carried[id]?.exchange.comment([])
    }
  }
}
