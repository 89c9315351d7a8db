import Gateway
import PoolCore

/// What a client is told of a request that the pool refused or could not serve to its end. End users read this.
extension PoolError {
  /// Seconds after which a client may ask again.
  private static let retryPause = 10

  init(_ failure: RequestFailure) {
    let (status, message): (Int, String) =
      switch failure {
      case .queueFull: (503, "The server is busy and its queue is full. Please try again in a little while.")
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
      retryAfterSeconds: status == 503 ? Self.retryPause : nil)
  }

  /// nil for a request that was served.
  init?(_ outcome: RequestOutcome) {
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
    case .failed(let failure): self.init(failure)
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
