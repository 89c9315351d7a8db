package import Credentials
package import Gateway
import NIOCore
package import NIOHTTP1
package import OllamaAPI
import OrderedCollections
package import PoolConfiguration
package import PoolCore
package import QueueStore

/// The chat: questions that wait durably, their events, sessions with their history, and the page. On the gateway's
/// loop.
///
/// A question is written down before anybody is told its place, so that no restart loses it; an answer, when it ends.
/// The parts:
/// - here: what there is, and what comes from the gateway;
/// - `Chat+Models`: which models there are;
/// - `Chat+Asking`: from a request to a place in the queue;
/// - `Chat+Following`: who sees what comes of it;
/// - `Chat+Answering`: what the model is told;
/// - `Chat+Ending`: how a question ends;
/// - `Chat+Sources`: what is looked up before;
/// - `Chat+Time`: what is given up, and what keeps connections alive;
/// - `Chat+Restart`: what an earlier dispatcher has left;
/// - `Chat+Storing`: what is to be kept;
/// - `Chat+Sessions`, `Chat+History`, `Chat+Page`: the rest of the API.
package final class Chat {
  let loop: any EventLoop
  let store: QueueStore
  unowned let pool: any ChatPool
  let gateway: Gateway
  var settings: ChatSettings
  var sessions: Sessions

  var questions: [String: Question] = [:]
  /// Those that have a name of their client's.
  var questionsByKey: [IdempotencyKey: Question] = [:]
  /// Those that the pool has.
  var asked: [RequestID: Question] = [:]
  var ended = EndedQuestions()
  /// By the request through which they follow.
  var streams: [RequestID: EventStream] = [:]
  var sockets: [ObjectIdentifier: ChatSocket] = [:]
  /// Who waits to see the history of which session, in the order of the sessions' turns.
  var awaitedHistories: OrderedDictionary<String, [Exchange]> = [:]
  var isReadingHistory = false
  let models = ModelList()
  let finder: SourceFinder
  var nextPlace: Int64 = 1

  /// Whether the pool is on its way out.
  private(set) var isStopping = false
  var tickTask: RepeatedTask?
  /// No stream and no socket is to hear before that it is not forgotten.
  var nextBeat = Instant.zero
  /// No question's deadline is before.
  var nextDeadline = Instant(nanoseconds: .max)
  /// When it was last looked for sessions that have expired.
  var expiredAt: Instant
  let expiryClock: ExpiryClock

  /// - Parameter stored: what was there when the dispatcher began.
  package init(
    gateway: Gateway, pool: any ChatPool, store: QueueStore, secret: CookieSecret, settings: ChatSettings,
    sources: SourcesSettings, stored: StoredState
  ) {
    loop = gateway.loop
    self.gateway = gateway
    self.pool = pool
    self.store = store
    self.settings = settings
    sessions = Sessions(secret: secret, lifetime: settings.sessionLifetime, stored: stored.sessions)
    expiredAt = pool.now
    expiryClock = ExpiryClock(.now, at: pool.now)
    finder = SourceFinder(gateway: gateway, settings: sources) { [unowned pool] problem in pool.sourcesFailed(problem) }
    startTicking()
  }

  /// The API key with which the session of a request signed in.
  package func keyID(of headers: HTTPHeaders, from peer: RequestPeer) -> String? {
    sessions.keyID(of: sessions.shown(in: headers, from: peer).id)
  }

  package func adopt(_ settings: ChatSettings, sources: SourcesSettings) {
    self.settings = settings
    sessions.lifetime = settings.sessionLifetime
    finder.adopt(sources)
  }

  /// The pool stops: what waits is left for the next dispatcher.
  ///
  /// - Returns: all that the pool has, for the next one to answer what it has not answered by then.
  package func stop() -> Set<RequestID> {
    isStopping = true
    for socket in sockets.values { socket.closeIfIdle() }
    return Set(asked.keys)
  }

  package func close() { tickTask?.cancel() }

  /// What clients know a request by; nil for one that is no question of the chat's.
  package func name(of id: RequestID) -> String? { asked[id]?.id }

  /// The request of a question, whoever asks.
  package func request(named name: String) -> RequestID? { questions[name]?.exchange?.id }

  /// The same, if it is this caller's to see.
  package func request(named name: String, seenBy exchange: Exchange) -> RequestID? {
    asker(exchange).flatMap { question(name, of: $0, mayEnd: true) }?.exchange?.id
  }

  /// An operator or age has moved a request. If it is a question, the next dispatcher has it there, too.
  package func moved(_ id: RequestID, toPriority priority: Int) {
    if let question = asked[id] { note(store.setPriority(String(priority), ofRequest: question.id)) }
  }

  // MARK: What the gateway tells

  package func arrived(_ exchange: Exchange, _ endpoint: PoolEndpoint) {
    switch endpoint {
    case .page: answerPage(exchange)
    case .document: answerDocument(exchange)
    case .signIn: signIn(exchange)
    case .signOut: signOut(exchange)
    case .ask: identified(exchange, ask)
    case .follow: identified(exchange, follow)
    case .cancel: identified(exchange, cancel)
    case .history: identified(exchange, answerHistory)
    case .forgetHistory: identified(exchange, forgetHistory)
    case .session: identified(exchange, answerSession)
    case .socket: identified(exchange, openSocket)
    // The dispatcher's own.
    case .queue, .place: exchange.refuse(.notFound)
    }
  }

  private func identified(_ exchange: Exchange, _ answer: (Exchange, Asker) -> Void) {
    // Nobody comes to these without having been identified.
    guard let asker = asker(exchange) else { return exchange.refuse(.notFound) }
    answer(exchange, asker)
  }

  private func asker(_ exchange: Exchange) -> Asker? {
    guard let shared = exchange.sharedCaller else { return nil }
    let caller = shared.wrappedValue
    let shown = sessions.shown(in: exchange.headers, from: exchange.peer)
    var asker = Asker(
      sharedCaller: shared, peer: exchange.peerAddress,
      language: ChatLanguage(accepting: exchange.header("Accept-Language")),
      session: shown.id.flatMap { sessions.belongs($0, to: caller) ? $0 : nil },
      hasCookie: shown != .none, cookies: cookies(for: exchange))
    if case .new(let id) = shown { (asker.session, asker.beginsSession) = (id, true) }
    return asker
  }

  func cookies(for exchange: Exchange) -> CookieRule {
    if !exchange.peer.isSameOrigin { return .refused }
    return pool.cameByHTTPS(exchange) ? .byHTTPS : .taken
  }

  /// A request of the chat's is over, maybe because its client left.
  package func ended(_ exchange: Exchange) {
    guard let stream = streams.removeValue(forKey: exchange.id) else { return }
    if let question = stream.question { left(stream, question) }
  }

  package func caughtUp(_ exchange: Exchange) {
    guard let stream = streams[exchange.id], let question = stream.question else { return }
    question.pump(stream)
  }
}
