import Gateway
import OllamaAPI
import PoolCore

/// What somebody who asked is told, in the order in which it happens.
enum ChatEvent {
  /// It waits, or its turn has come.
  case queue(QueuePlace)
  case sources([AnswerSource])
  /// A piece of the answer.
  case token(String)
  /// What came of the answer is void: it is given anew.
  case restart
  case done(at: String, model: String, wasStopped: Bool)
  case failed(ChatError)

  var isEnd: Bool {
    switch self {
    case .done, .failed: true
    case .queue, .sources, .token, .restart: false
    }
  }

  /// In JSON, of one line; whose it is comes with the frame.
  func encoded(_ language: ChatLanguage) -> [UInt8] {
    var json = JSONWriter(capacity: 160)
    switch self {
    case .queue(let place):
      json.raw("{\"type\":\"queue\",")
      json.members(of: place)
      json.raw(",\"message\":\"")
      json.raw(language.queuedAt)
      json.number(place.position)
      json.raw("\"")
    case .sources(let sources):
      json.raw("{\"type\":\"sources\",\"sources\":")
      AnswerSource.write(sources, &json)
    case .token(let token):
      json.raw("{\"type\":\"token\",\"token\":")
      json.string(token)
    case .restart:
      json.raw("{\"type\":\"restart\"")
    case .done(let time, let model, let wasStopped):
      json.raw("{\"type\":\"done\",\"timestamp\":")
      json.string(time)
      json.raw(",\"model\":")
      json.string(model)
      if wasStopped { json.raw(",\"stopped\":true") }
    case .failed(let error): Self.write(error.told(in: language), &json)
    }
    json.raw("}")
    return json.bytes
  }

  /// An `error` event without its end.
  static func write(_ error: PoolError, _ json: inout JSONWriter) {
    json.raw("{\"type\":\"error\",\"error\":")
    json.string(error.message)
    json.raw(",\"code\":")
    json.string(error.code)
    if let seconds = error.retryAfterSeconds {
      json.raw(",\"retry_after\":")
      json.text(String(seconds))
    }
  }
}

/// A passage that the answer was given with.
struct AnswerSource: Hashable {
  var title: String
  /// How well it fits, from 0 to 1.
  var score: Double
  var excerpt: String

  /// As a JSON array.
  static func write(_ sources: [AnswerSource], _ json: inout JSONWriter) {
    json.raw("[")
    for (index, source) in sources.enumerated() {
      if index > 0 { json.raw(",") }
      json.raw("{\"title\":")
      json.string(source.title)
      json.raw(",\"score\":")
      json.text(String(min(1, max(0, (source.score * 100).rounded() / 100))))
      json.raw(",\"excerpt\":")
      json.string(source.excerpt)
      json.raw("}")
    }
    json.raw("]")
  }
}
