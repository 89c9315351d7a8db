import Credentials
import Gateway
import NIOCore
import PoolConfiguration
package import PoolCore
import QueueStore

/// Who sees what comes of a question, and what becomes of it when nobody does.
extension Chat {
  func follow(_ exchange: Exchange, _ asker: Asker) {
    guard let question = question(exchange.pathVariable, of: asker) else { return exchange.refuse(.notFound) }
    let stream = EventStream(self, exchange, seen: Self.lastSeen(exchange))
    streams[exchange.id] = stream
    join(question, stream, asker)
  }

  /// The number of the last event that a client has; what is no number counts as none.
  private static func lastSeen(_ exchange: Exchange) -> Int {
    exchange.header("Last-Event-ID").flatMap { Int($0) } ?? 0
  }

  func openSocket(_ exchange: Exchange, _ asker: Asker) {
    var asker = asker
    let session = asker.session ?? RandomID.make()
    // Its client gets one with the answer; without a question it costs nothing.
    if asker.session == nil { asker.beginsSession = true }
    (asker.session, asker.hasCookie) = (session, true)
    let socket = ChatSocket(self, exchange, asker)
    let cookie = sessions.cookie(session, isNew: asker.beginsSession, asker.cookies)
    guard let opened = exchange.openWebSocket(socket, answerHeaders: cookie) else { return }
    socket.began(opened)
    sockets[ObjectIdentifier(socket)] = socket
  }

  func closed(_ socket: ChatSocket) { sockets[ObjectIdentifier(socket)] = nil }

  func join(_ question: Question, _ viewer: any Viewer, _ asker: Asker) {
    viewer.question = question
    viewer.begin(cookie: sessions.cookie(question.session, asker.cookies))
    // From another life than its own: all of it is news.
    if viewer.seen > question.log.last { viewer.seen = 0 }
    question.viewers.append(viewer)
    switch question.phase {
    case .asked, .saving: return
    case .ended: break
    case .open:
      question.deadline = nil
      tellPlace(of: question)
    case .suspended: resume(question)
    }
    question.pump(viewer)
  }

  private func resume(_ question: Question) {
    guard let exchange = question.exchange else { return }
    question.phase = .open
    question.deadline = nil
    note(store.setRequest(question.id, state: .waiting, attempts: question.life))
    pool.resume(exchange.id)
    tellPlace(of: question)
  }

  // MARK: Places

  /// Whether anybody may want to hear where a question stands.
  package var followsPlaces: Bool { !asked.isEmpty }

  /// A request stands there now.
  ///
  /// - Returns: whether it is a question.
  package func tell(_ place: QueuePlace, to id: RequestID) -> Bool {
    guard let question = asked[id] else { return false }
    // Who follows it later hears the place then.
    if !question.viewers.isEmpty { question.tellPlace(place) }
    return true
  }

  func tellPlace(of question: Question) {
    guard let id = question.exchange?.id, let place = pool.place(of: id) else { return }
    _ = tell(place, to: id)
  }

  // MARK: Leaving

  func left(_ viewer: any Viewer, _ question: Question) {
    question.viewers.removeAll { $0 === viewer }
    if question.viewers.isEmpty { unwatched(question) }
  }

  /// Nobody follows it any more. Whoever means to come back has the server go on for a while; of anybody else the place
  /// and the slot are free at once, and the turn is kept for as long: by the next dispatcher where this one stops.
  func unwatched(_ question: Question) {
    guard question.phase == .open else { return }
    question.deadline = pool.now + settings.resumeWithin
    guard !question.isResumable, let exchange = question.exchange else { return }
    question.phase = .suspended
    note(store.setRequest(question.id, state: .suspended, attempts: question.life))
    question.stopSearch()
    if isStopping { exchange.leave() } else { pool.suspend(exchange.id) }
  }

  // MARK: Enough

  func cancel(_ exchange: Exchange, _ asker: Asker) {
    guard let question = question(exchange.pathVariable, of: asker, mayEnd: true) else {
      return exchange.refuse(.notFound)
    }
    stop(question)
    exchange.respond(status: 204, headers: [("Cache-Control", "no-store")], body: [])
  }

  /// Ends a question: one that waits gives its place up, one that is answered its slot.
  func stop(_ question: Question) {
    switch question.phase {
    case .ended: return
    case .asked, .saving: finish(question, .stopped)
    case .open, .suspended:
      question.answer.wasStopped = true
      question.exchange?.leave()
    }
  }

  /// - Parameter name: what a client knows it by.
  /// - Returns: nil for what is somebody else's, too: see ``Asker/may(see:mayEnd:)``.
  func question(_ name: String?, of asker: Asker, mayEnd: Bool = false) -> Question? {
    name.flatMap { questions[$0] }.flatMap { asker.may(see: $0, mayEnd: mayEnd) ? $0 : nil }
  }
}
