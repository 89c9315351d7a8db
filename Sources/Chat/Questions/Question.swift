import Gateway
import NIOCore
import OllamaAPI
import PoolCore
import QueueStore
import Retrieval

/// One question, from being asked to the last moment at which its events can be had again. On the loop.
final class Question {
  enum Phase {
    /// Nothing of it is written down. → saving, ended
    case asked
    /// It is being written down; nobody was told a place. → open, ended
    case saving
    /// The pool has it: it waits or is answered. → suspended, ended
    case open
    /// Its client is away: it has neither a place nor a slot. → open, ended
    case suspended
    /// Nothing more comes of it.
    case ended
  }

  // What each of thousands that wait is told a place by lies side by side: most of that time goes for memory which no
  // cache holds.
  let id: String
  var phase = Phase.asked
  /// What the pool has it by, or will; to its end there.
  var exchange: Exchange?
  var viewers: [any Viewer] = []
  var log: EventLog

  let session: String
  /// Whether the session is one with the question, and is not told before that is taken.
  let beginsSession: Bool
  let sharedCaller: Shared<Caller>
  /// nil as long as nobody knows which one there is.
  var model: String?
  let language: ChatLanguage
  /// Whether it goes on for a while without anybody who follows it.
  let isResumable: Bool
  /// The client's own name for it.
  let idempotencyKey: String?
  /// In the order of arrival; outlives the dispatcher.
  let place: Int64
  /// How many dispatchers have had it before this one.
  let life: Int
  unowned let chat: Chat

  /// When it is given up for want of a client, or, once it has ended, forgotten.
  var deadline: Instant? {
    didSet { if let deadline { chat.nextDeadline = min(chat.nextDeadline, deadline) } }
  }
  /// Made with what comes first: thousands wait, and have none.
  lazy var answer = Answer()
  /// Looks up what it is answered with.
  var search: SourceSearch?
  /// What it is answered with; nil before it was looked up.
  var found: [FoundPassage]?
  /// What came of it before it was to be given anew; it stays if it isn't.
  var voidedText = ""

  /// Whether anybody was told that it was taken.
  var wasTold = false

  var caller: Caller { sharedCaller.wrappedValue }
  var hasEnded: Bool { phase == .ended }

  /// What came of the answer so far.
  final class Answer {
    /// nil before it begins.
    var status: Int?
    var text = ""
    var sources: [AnswerSource] = []
    var lines = LineSplitter()
    /// The instance's own error.
    var error: String?
    /// Whether it is more than is kept of one.
    var isTooLong = false
    /// Whether somebody said that it is enough.
    var wasStopped = false
  }

  init(
    _ chat: Chat, id: String, session: String, beginsSession: Bool = false, caller: Shared<Caller>, model: String?,
    language: ChatLanguage, isResumable: Bool, idempotencyKey: String? = nil, place: Int64, life: Int = 0
  ) {
    self.chat = chat
    self.id = id
    self.session = session
    self.beginsSession = beginsSession
    sharedCaller = caller
    self.model = model
    self.language = language
    self.isResumable = isResumable
    self.idempotencyKey = idempotencyKey
    self.place = place
    self.life = life
    log = EventLog(life: life, language)
  }

  // MARK: Events

  func tell(_ event: ChatEvent) {
    log.append(event)
    for viewer in viewers { pump(viewer) }
  }

  /// Sends a viewer what is new to it, as far as it takes it.
  func pump(_ viewer: any Viewer) {
    log.forEach(after: viewer.seen) { number, json in
      guard viewer.takesMore else { return false }
      viewer.seen = number
      viewer.send(number, json, of: id)
      return true
    }
    guard hasEnded, viewer.seen >= log.last else { return }
    viewers.removeAll { $0 === viewer }
    viewer.end()
  }

  /// Tells the place, if that is news.
  func tellPlace(_ place: QueuePlace) {
    if place != log.place { tell(.queue(place)) }
  }

  /// The instance may go on to other things at once.
  func stopSearch() {
    search?.cancel()
    search = nil
  }

  /// Its turn has come; whoever waited hears so.
  func turnCame() {
    if let place = log.place, place != .turn { tell(.queue(.turn)) }
  }
}
