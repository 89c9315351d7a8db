import Credentials
import Gateway
import NIOCore
import OllamaAPI
import PoolConfiguration
import PoolCore
import QueueStore

/// From a request to a place in the queue.
extension Chat {
  /// The route by which a question is put to an instance.
  private static let route = OwnRoute("POST", "/api/chat")

  func ask(_ exchange: Exchange, _ asker: Asker) {
    do throws(ChatError) {
      let asked = try AskedQuestion.read(exchange.content)
      let stream = EventStream(self, exchange)
      streams[exchange.id] = stream
      ask(asked, asker, viewer: stream)
    } catch {
      exchange.refuse(error)
    }
  }

  func ask(_ asked: AskedQuestion, _ asker: Asker, viewer: any Viewer) {
    if let known = known(asked, asker) { return join(known, viewer, asker) }
    chooseModel(asked.model) { [self] chosen in
      switch chosen {
      case .failure(let error): viewer.refuse(error)
      case .success(let model): if viewer.isThere { take(asked, asker, model: model, viewer) }
      }
    }
  }

  /// The same question, asked before.
  private func known(_ asked: AskedQuestion, _ asker: Asker) -> Question? {
    asked.idempotency_key.flatMap(asker.named).flatMap { questionsByKey[$0] }
  }

  private func take(_ asked: AskedQuestion, _ asker: Asker, model: String?, _ viewer: any Viewer) {
    // It may have come by another connection while the model was looked for.
    if let known = known(asked, asker) { return join(known, viewer, asker) }
    var caller = asker.sharedCaller
    caller.wrappedValue.share = pool.share(of: asker.caller)
    caller.wrappedValue.share.priority = max(caller.wrappedValue.share.priority, Int(asked.priority ?? 0))
    let session = asker.beginsSession ? asker.session : session(of: asker)
    let question = Question(
      self, id: RandomID.make(), session: session ?? RandomID.make(), beginsSession: session == nil, caller: caller,
      model: model, language: asker.language, isResumable: asked.resumable ?? false,
      idempotencyKey: asked.idempotency_key, place: nextPlace)
    nextPlace += 1
    remember(question)
    question.viewers = [viewer]
    viewer.question = question
    let exchange = exchange(for: question, peer: asker.peer, bytes: asked.message.utf8.count)
    // Whoever asks too often costs no writing.
    guard !pool.refuses(exchange) else { return }
    write(question, message: asked.message) { [self] in open(question, exchange, asker) }
  }

  /// The session of somebody who asks, if it has not gone since.
  func session(of asker: Asker) -> String? {
    asker.session.flatMap { sessions.belongs($0, to: asker.caller) ? $0 : nil }
  }

  /// Writes a question down before it waits.
  private func write(_ question: Question, message: String, _ done: @escaping () -> Void) {
    question.phase = .saving
    let now = WallTime.now
    let isKnown = sessions.belongs(question.session, to: question.caller)
    if isKnown { store.touchSession(question.session, at: now) }
    let session = isKnown ? nil : begin(question.session, of: question.caller, at: now)
    let accepted = store.accept(question.stored(message: message, at: now), beginning: session)
    accepted.assumeIsolated().whenComplete { [self] written in
      began(session, written)
      switch written {
      case .success: done()
      case .failure(let error):
        pool.storeFailed("\(error)")
        finish(question, .refused(.storeFailed))
      }
    }
  }

  /// Gives a question to the pool.
  private func open(_ question: Question, _ exchange: Exchange, _ asker: Asker) {
    guard question.phase == .saving else { return }
    question.phase = .open
    exchange.arrive()
    guard question.phase == .open else { return }
    if question.exchange != nil { asked[exchange.id] = question }
    question.wasTold = true
    let cookie = sessions.cookie(question.session, asker.cookies)
    for viewer in question.viewers where !viewer.hasBegun { viewer.begin(cookie: cookie) }
    tellPlace(of: question)
    for viewer in question.viewers { question.pump(viewer) }
    // Its client left while it was being written down.
    if question.viewers.isEmpty { unwatched(question) }
  }

  /// - Parameter bytes: about as long as what the model will be told.
  func exchange(for question: Question, peer: SocketAddress?, bytes: Int) -> Exchange {
    let exchange = gateway.request(
      OwnRequest(
        route: Self.route, model: question.model, streams: true, bodyBytes: bytes, caller: question.sharedCaller,
        peer: peer),
      reader: question)
    question.exchange = exchange
    return exchange
  }
}

extension Question {
  func stored(message: String, at time: WallTime) -> StoredRequest {
    StoredRequest(
      id: id, place: place, session: session, user: caller.user.name, className: caller.className,
      keyID: caller.keyID, priority: String(caller.share.priority), model: model, message: message,
      language: language.rawValue, isResumable: isResumable, idempotencyKey: idempotencyKey, arrivedAt: time)
  }
}

extension Caller {
  fileprivate var keyID: String? {
    if case .key(let id, _) = proof { id } else { nil }
  }
}
