import Gateway
import PoolCore

/// What the pool has refused or could not serve, which it words in English.
extension ChatError {
  /// - Parameter served: the only models that the pool serves.
  init(_ error: PoolError, served: [String] = []) {
    self.init(
      status: error.status, code: error.code, retryAfterSeconds: error.retryAfterSeconds,
      italian: Self.italian(error, served) ?? error.message, english: error.message)
  }

  /// nil for what has no words of its own.
  private static func italian(_ error: PoolError, _ served: [String]) -> String? {
    switch RequestFailure(rawValue: error.code) {
    case .queueFull: "Il server è occupato e la sua coda è piena. Riprova tra poco."
    case .rateLimited: "Hai già fatto tutte le domande permesse in un'ora. Potrai riprovare \(pause(error))."
    case .tokenLimited:
      "Le tue domande e le loro risposte hanno raggiunto il limite di un'ora. Potrai riprovare \(pause(error))."
    case .tooManyConcurrent:
      "Hai già tutte le richieste aperte che ti sono permesse. Riprova quando una sarà terminata."
    case .tooManyWaiting:
      "Hai già tutte le richieste in attesa che ti sono permesse. Riprova quando una sarà iniziata."
    case .shuttingDown: "Il server viene fermato o riavviato. Riprova tra poco."
    case .modelNotServed:
      "Questo modello qui non è servito. Il server è riservato a: \(list(served, more: "e altri %"))."
    case .storeRefused: "I modelli di questo server non possono essere cambiati da qui."
    case .attemptsExhausted:
      "Il modello non è riuscito a rispondere: più tentativi sono falliti. Riprova; se succede di nuovo, avvisa chi "
        + "gestisce questo server."
    case .noAnswer:
      "Il modello non ha risposto in tempo. Se succede di nuovo, avvisa chi gestisce questo server."
    case .instanceLost: "Il modello si è fermato a metà della risposta. Riprova."
    case .truncated: "La risposta è finita troppo presto. Riprova."
    case .upstreamError: "Il modello ha segnalato un errore. Riprova."
    case nil:
      switch error.code {
      case "cancelled": "Chi gestisce questo server ha annullato la richiesta."
      case "expired":
        "Il server era troppo occupato per rispondere entro il tempo massimo di attesa. Riprova."
      default: nil
      }
    }
  }

  private static func pause(_ error: PoolError) -> String {
    guard let seconds = error.retryAfterSeconds else { return "più tardi" }
    let minutes = (seconds + 59) / 60
    return minutes > 1 ? "tra \(minutes) minuti" : "tra un minuto"
  }
}
