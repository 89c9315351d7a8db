import FoundationEssentials
import Gateway
import NIOCore
import PoolCore

/// What somebody asks, as it comes over the wire.
struct AskedQuestion: Decodable, Equatable {
  var message: String
  var model: String?
  /// A later one than that of the caller's class; an earlier one counts as that.
  var priority: Double?
  /// Whether the answer goes on for a while without anybody who follows it, since its client will come back.
  var resumable: Bool?
  /// The client's own name for it.
  var idempotency_key: String?

  /// Of such a name, in characters.
  private static let keyLengths = 1...128

  /// - Throws: what is wrong with it, in words.
  static func read(_ body: ByteBuffer) throws(ChatError) -> AskedQuestion {
    let question: AskedQuestion
    do {
      question = try JSONDecoder().decode(AskedQuestion.self, from: Data(body.readableBytesView))
    } catch {
      throw problem(error as? DecodingError)
    }
    guard question.message.unicodeScalars.contains(where: { !$0.properties.isWhitespace }) else { throw .emptyMessage }
    let last = UserClass.priorities.upperBound
    guard question.priority.map({ 0...Double(last) ~= $0 && $0 == $0.rounded() }) ?? true else {
      throw .malformed(
        italian: "'priority' dev'essere un numero intero da 0, la prima, a \(last).",
        english: "The member 'priority' must be a whole number from 0, the first, to \(last).")
    }
    guard question.idempotency_key.map({ Self.keyLengths ~= $0.unicodeScalars.count }) ?? true else {
      let most = Self.keyLengths.upperBound
      throw .malformed(
        italian: "'idempotency_key' dev'essere lungo da 1 a \(most) caratteri.",
        english: "The member 'idempotency_key' must have 1 to \(most) characters.")
    }
    return question
  }

  /// - Parameter error: nil for what can't be said more closely.
  private static func problem(_ error: DecodingError?) -> ChatError {
    let (italian, english): (String, String) =
      switch error {
      case .keyNotFound(let key, _): ("Manca '\(key.stringValue)'", "The member '\(key.stringValue)' is missing")
      case .typeMismatch(_, let context), .valueNotFound(_, let context):
        context.codingPath.last.map {
          ("'\($0.stringValue)' è del tipo sbagliato", "The member '\($0.stringValue)' is of the wrong type")
        } ?? ("Il corpo non è un oggetto JSON", "The body is no JSON object")
      case .dataCorrupted(let context) where !context.codingPath.isEmpty:
        ("Un valore non è leggibile", "A value can't be read")
      default: ("Il corpo non è JSON", "The body is no JSON")
      }
    let shape =
      "{\"message\": \"…\", \"model\"?: \"…\", \"priority\"?: 1, \"resumable\"?: true, "
      + "\"idempotency_key\"?: \"…\"}"
    return .malformed(
      italian: "\(italian). Il corpo dev'essere \(shape).", english: "\(english). The body has to be \(shape).")
  }
}
