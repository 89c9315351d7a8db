import Gateway

/// What somebody who chats is told when something went wrong: in words for people, in each language, and by a code for
/// programs, which is the same in all.
struct ChatError: Error, Equatable {
  var status: Int
  var code: String
  var retryAfterSeconds: Int?
  let italian: String
  let english: String

  init(status: Int, code: String, retryAfterSeconds: Int? = nil, italian: String, english: String) {
    self.status = status
    self.code = code
    self.retryAfterSeconds = retryAfterSeconds
    self.italian = italian
    self.english = english
  }

  func told(in language: ChatLanguage) -> PoolError {
    let message =
      switch language {
      case .italian: italian
      case .english: english
      }
    return PoolError(status: status, code: code, message: message, retryAfterSeconds: retryAfterSeconds)
  }
}

extension Exchange {
  /// In the language that its client prefers.
  func refuse(_ error: ChatError) {
    refuse(error.told(in: ChatLanguage(accepting: header("Accept-Language"))))
  }
}

// MARK: What the chat itself refuses

extension ChatError {
  /// Also for what is somebody else's: that it exists is nobody's business.
  static let notFound = ChatError(
    status: 404, code: "not_found", italian: "Qui non c'è niente con questo nome, o non c'è più.",
    english: "There is nothing of that name here, or no longer.")

  static let stopped = ChatError(
    status: 499, code: "cancelled", italian: "La domanda è stata interrotta.", english: "The question was stopped.")

  static let storeFailed = ChatError(
    status: 503, code: "storage_failed", retryAfterSeconds: 10,
    italian: "Il server non è riuscito a salvare la domanda. Riprova.",
    english: "The server could not write the question down. Please try again.")

  static let answerTooLong = ChatError(
    status: 502, code: "upstream_error", italian: "La risposta è più lunga di quanto il server permetta.",
    english: "The answer is longer than the server allows.")

  static let unknownKey = ChatError(
    status: 401, code: "unauthenticated", italian: "Questa chiave qui non è conosciuta, o non lo è più.",
    english: "This key is not known here, or no longer.")

  static let foreignSignIn = ChatError(
    status: 403, code: "origin_not_allowed",
    italian: "Qui le pagine di altre origini non possono accedere: mandino la chiave con ogni richiesta.",
    english: "Pages of other origins can't sign in here. They send the key with each request.")

  static func tooManyOpen(_ most: Int) -> ChatError {
    ChatError(
      status: 429, code: "too_many_open",
      italian: "Questa connessione ha già \(most) domande aperte. Attendi che una sia terminata.",
      english: "This connection has \(most) open questions already. Please wait for one to end.")
  }

  /// - Parameter words: the model server's own.
  static func modelFailed(_ words: String) -> ChatError {
    ChatError(
      status: 502, code: "upstream_error", italian: "Il modello ha segnalato un errore: \(words)",
      english: "The model reported an error: \(words)")
  }

  static func malformed(italian: String, english: String) -> ChatError {
    ChatError(status: 400, code: "malformed_request", italian: italian, english: english)
  }

  static let emptyMessage = ChatError(
    status: 400, code: "empty_message", italian: "In 'message' non c'è nessuna domanda.",
    english: "There is no question in 'message'.")
}

// MARK: Models

extension ChatError {
  /// Models that an error names.
  private static let mostNamed = 20
  /// What an error repeats of a name, in characters.
  private static let longestRepeated = 100

  static let noModelList = ChatError(
    status: 502, code: "no_model_list", italian: "Nessuna istanza ha detto quali modelli ci sono. Riprova.",
    english: "No instance told which models there are. Try again.")

  /// - Parameter models: those that can chat; nil where nobody knows.
  static func modelNotFound(_ name: String, instead models: [String]?) -> ChatError {
    let name = name.prefix(longestRepeated)
    return ChatError(
      status: 404, code: "model_not_found",
      italian: "Non c'è nessun modello '\(name)'." + (models.map { " " + italianList($0) } ?? ""),
      english: "There is no model '\(name)'." + (models.map { " " + englishList($0) } ?? ""))
  }

  static func modelNeeded(_ models: [String]) -> ChatError {
    ChatError(
      status: 400, code: "model_needed", italian: "La domanda deve indicare il suo 'model'. \(italianList(models))",
      english: "The question has to name its 'model'. \(englishList(models))")
  }

  static func modelCannotChat(_ name: String, instead models: [String]) -> ChatError {
    let name = name.prefix(longestRepeated)
    return ChatError(
      status: 400, code: "model_cannot_chat",
      italian: "Il modello '\(name)' non sa chattare. \(italianList(models, "Sanno farlo"))",
      english: "The model '\(name)' can't chat. \(englishList(models, "These can"))")
  }

  private static func italianList(_ models: [String], _ beginning: String = "Ci sono") -> String {
    models.isEmpty ? "Nessun modello installato sa chattare." : "\(beginning): \(list(models, more: "e altri %"))."
  }

  private static func englishList(_ models: [String], _ beginning: String = "There are") -> String {
    models.isEmpty ? "None is installed that can chat." : "\(beginning): \(list(models, more: "and % more"))."
  }

  /// - Parameter more: how many there are beyond those that are named, for `%`.
  static func list(_ models: [String], more: String) -> String {
    let others = models.count - mostNamed
    return models.prefix(mostNamed).joined(separator: ", ")
      + (others > 0 ? " " + more.replacing("%", with: String(others)) : "")
  }
}
