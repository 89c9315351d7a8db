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

  /// - Throws: what is wrong with it, in words.
  static func read(_ body: ByteBuffer) throws(PoolError) -> AskedQuestion {
    let question: AskedQuestion
    do {
      question = try JSONDecoder().decode(AskedQuestion.self, from: Data(body.readableBytesView))
    } catch let error as DecodingError {
      throw PoolError(status: 400, code: "malformed_request", message: describe(error))
    } catch {
      throw PoolError(status: 400, code: "malformed_request", message: "The body is no JSON.")
    }
    guard question.message.unicodeScalars.contains(where: { !$0.properties.isWhitespace }) else {
      throw PoolError(status: 400, code: "empty_message", message: "There is no question in 'message'.")
    }
    let last = UserClass.priorities.upperBound
    guard question.priority.map({ 0...Double(last) ~= $0 && $0 == $0.rounded() }) ?? true else {
      throw PoolError(
        status: 400, code: "malformed_request",
        message: "The member 'priority' must be a whole number from 0, the first, to \(last).")
    }
    return question
  }

  private static func describe(_ error: DecodingError) -> String {
    let shape = "{\"message\": \"…\", \"model\"?: \"…\", \"priority\"?: 1, \"resumable\"?: true}"
    return switch error {
    case .keyNotFound(let key, _): "The member '\(key.stringValue)' is missing; the body has to be \(shape)."
    case .typeMismatch(_, let context) where context.codingPath.isEmpty,
      .valueNotFound(_, let context) where context.codingPath.isEmpty:
      "The body is no JSON object; it has to be \(shape)."
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      "The member '\(context.codingPath.last?.stringValue ?? "")' is of the wrong type; the body has to be \(shape)."
    case .dataCorrupted(let context) where !context.codingPath.isEmpty:
      "The member '\(context.codingPath.last?.stringValue ?? "")' can't be read; the body has to be \(shape)."
    case .dataCorrupted: "The body is no JSON; it has to be \(shape)."
    @unknown default: "The body can't be read; it has to be \(shape)."
    }
  }
}
