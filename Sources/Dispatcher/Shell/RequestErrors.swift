import Gateway
import PoolCore

/// What a client is told of a request that the pool refused or could not serve to its end. End users read this.
extension PoolError {
  /// Seconds after which a client may ask again.
  private static let retryPause = 10

  /// - Parameter retryAfter: as far as it is known.
  init(_ failure: RequestFailure, retryAfter: Duration? = nil) {
    let (status, message): (Int, String) =
      switch failure {
      case .queueFull: (503, "The server is busy and its queue is full. Please try again in a little while.")
      case .rateLimited:
        (429, "You have asked as often as you may within an hour. Please ask again \(Self.text(retryAfter)).")
      case .tokenLimited:
        (
          429,
          "Your questions and their answers have reached the limit of an hour. "
            + "Please ask again \(Self.text(retryAfter))."
        )
      case .tooManyConcurrent:
        (429, "You have as many open requests as you may. Please ask again when one of them has ended.")
      case .tooManyWaiting:
        (429, "You have as many waiting requests as you may. Please ask again when one of them has begun.")
      case .shuttingDown: (503, "The server is being stopped or restarted. Please try again in a little while.")
      // The shell says which models are.
      case .modelNotServed: (404, "This model is not served here.")
      case .storeRefused: (403, "The models of this server can't be changed through it.")
      case .attemptsExhausted:
        (
          502,
          "The model could not answer: several attempts failed. Please try again; if it happens again, tell the "
            + "operator of this server."
        )
      case .noAnswer:
        (
          504,
          "The model did not answer in time. For a long answer ask for a stream; if it happens again, tell the operator "
            + "of this server."
        )
      case .instanceLost: (Self.instanceLost.status, Self.instanceLost.message)
      case .truncated: (Self.truncated.status, Self.truncated.message)
      case .upstreamError: (502, "The model reported an error. Please ask again.")
      }
    self.init(
      status: status, code: failure.rawValue, message: message,
      retryAfterSeconds: [429, 503].contains(status) ? retryAfter.map(Self.seconds) ?? Self.retryPause : nil)
  }

  /// Whole seconds, never too few.
  private static func seconds(_ time: Duration) -> Int { max(1, Int(time.seconds.rounded(.up))) }

  private static func text(_ retryAfter: Duration?) -> String {
    guard let retryAfter else { return "later" }
    let minutes = (seconds(retryAfter) + 59) / 60
    // What was used in a minute counts until an hour after its end.
    if minutes >= 60 { return "in about an hour" }
    return minutes > 1 ? "in \(minutes) minutes" : "in a minute"
  }

  /// nil for a request that was served.
  init?(_ outcome: RequestOutcome, retryAfter: Duration? = nil) {
    switch outcome {
    case .served: return nil
    case .cancelled:
      // As Ollama answers what was cancelled; not to be asked again.
      self.init(status: 499, code: "cancelled", message: "The operator of this server cancelled the request.")
    case .expired:
      self.init(
        status: 503, code: "expired",
        message: "The server was too busy to answer within the time that it lets requests wait. Please try again.",
        retryAfterSeconds: Self.retryPause)
    case .failed(let failure): self.init(failure, retryAfter: retryAfter)
    }
  }
}

extension RequestOutcome {
  /// How an exchange ended that the core had not ended itself.
  init(_ outcome: ExchangeOutcome) {
    self =
      switch outcome {
      case .served: .served
      // The client broke off, or broke HTTP's rules: no fault of the pool's.
      case .cancelled, .failed(.requestBody): .cancelled
      case .failed(.status), .failed(.reportedInStream): .failed(.upstreamError)
      case .failed(.truncated): .failed(.truncated)
      case .failed(.instanceLost), .failed(.refused): .failed(.instanceLost)
      }
  }
}
