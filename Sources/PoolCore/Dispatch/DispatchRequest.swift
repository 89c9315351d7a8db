/// What the core knows of a request. Its head, body and connection are the gateway's.
package struct DispatchRequest: Hashable, Sendable {
  /// What a request needs of an instance.
  package enum Need: Hashable, Sendable {
    /// One slot, after its turn in the queue: inference.
    case slot
    /// Any healthy instance, at once and without a slot: model lists and the like.
    case reference
    /// The one instance that changes the model store: pull, push, create, copy, delete, blobs. Two servers that pull
    /// into one store share their partial files, so all of these go to the same one.
    case storeReference
    /// The instance that has a way out to the network, at once and without a slot: the account at ollama.com.
    case networkReference
    /// The same, for inference that is computed elsewhere: it takes no GPU, and counts for its user's limits.
    case remoteInference

    package var isInference: Bool { self == .slot || self == .remoteInference }
    /// Whether it takes an instance that has a way out to the network, and may just pass by.
    package var leavesMachine: Bool { self == .networkReference || self == .remoteInference }
  }

  package var id: RequestID
  package var need: Need
  /// Whether the answer comes piece by piece, so that its first byte shows that the instance works.
  package var streams: Bool
  /// The normalised name of the model, where one could be read.
  package var model: String?
  /// What the model has to be loaded with.
  @Shared package var options: RunnerOptions
  /// Whose it is, and what that one is entitled to.
  package var share: Share
  /// Tokens of the question: as far as can be told without the model, then as it has counted them.
  package var inputTokens: Int

  package init(
    id: RequestID, need: Need = .slot, model: String? = nil, options: RunnerOptions = RunnerOptions(),
    streams: Bool = true, share: Share = Share(), inputTokens: Int = 0
  ) {
    self.id = id
    self.need = need
    self.model = model
    _options = options.shared
    self.streams = streams
    self.share = share
    self.inputTokens = inputTokens
  }

  /// What its user is entitled to: what the order of service goes by, and the limits.
  package struct Share: Hashable, Sendable {
    package var user: UserID
    /// Of the user's class: all of a priority are served before those of the next; 0 is the first.
    package var priority: Int
    /// Of two users of a priority, one of twice the weight gets twice as many tokens.
    package var weight: Double
    @Shared package var limits: UserLimits

    package init(user: UserID = "", priority: Int = 0, weight: Double = 1, limits: UserLimits = UserLimits()) {
      self.user = user
      self.priority = priority
      self.weight = weight
      self.limits = limits
    }

    package init(user: UserID, in userClass: UserClass) {
      self.user = user
      priority = userClass.priority
      weight = userClass.weight
      _limits = userClass.$limits
    }
  }

  /// What an instance has to have in memory for a request.
  package struct Kind: Hashable, Sendable {
    package var model: String?
    package var options: RunnerOptions

    package init(model: String?, options: RunnerOptions = RunnerOptions()) {
      self.model = model
      self.options = options
    }
  }

  package var kind: Kind { Kind(model: model, options: options) }
}

/// Where a request stands between its arrival and its end.
package enum RequestPhase: Hashable, Sendable {
  /// In the queue; nobody is tied to an instance before a slot is free. → assigned, suspended, or the end
  case waiting(since: Instant)
  /// Holds a lease (or a reference) of an instance. `begun`: the first byte of the answer went to the client, so it
  /// can't be served elsewhere any more. → waiting where it isn't, suspended, or the end
  case assigned(InstanceID, InvocationID, since: Instant, begun: Instant?)
  /// Its client is away: it neither waits nor is served, and keeps its place. → waiting where it isn't, or the end
  /// `waited`: before, for the maximum wait.
  case suspended(waited: Duration)
}

/// How far an exchange has come.
package struct RequestProgress: Hashable, Sendable {
  /// When it last moved, in either direction, or its client last held it back.
  package var movedAt: Instant
  /// Tokens of its question, where more is known than when it arrived.
  package var questionTokens: Int
  /// Tokens of its answer so far, about.
  package var answerTokens: Int

  package init(movedAt: Instant, questionTokens: Int = 0, answerTokens: Int = 0) {
    self.movedAt = movedAt
    self.questionTokens = questionTokens
    self.answerTokens = answerTokens
  }
}

/// How a request ended. Each accepted one ends exactly once.
package enum RequestOutcome: Hashable, Sendable {
  /// Answered to its end marker.
  case served
  /// The client left, or an operator cancelled it.
  case cancelled
  /// Waited longer than the configured maximum.
  case expired
  case failed(RequestFailure)
}

/// Why the pool refused a request or could not serve it to the end.
package enum RequestFailure: String, Hashable, Sendable, CaseIterable {
  /// The queue holds as many requests as the configuration allows.
  case queueFull = "queue_full"
  /// The user has made as many requests within an hour as the class allows.
  case rateLimited = "rate_limited"
  /// The user's questions and answers within an hour had as many tokens as the class allows.
  case tokenLimited = "token_limited"
  /// The user has as many open requests as the class allows.
  case tooManyConcurrent = "too_many_concurrent"
  /// The user has as many waiting requests as the class allows.
  case tooManyWaiting = "too_many_waiting"
  /// The pool is stopping.
  case shuttingDown = "shutting_down"
  /// All placements are reserved for other models.
  case modelNotServed = "model_not_served"
  /// The model store must not be changed.
  case storeRefused = "store_refused"
  /// Instance after instance failed before the first byte.
  case attemptsExhausted = "attempts_exhausted"
  /// No byte of the answer came within the limit.
  case noAnswer = "no_answer"
  /// The instance died or was taken out in mid-stream.
  case instanceLost = "instance_lost"
  /// The answer ended without its end marker.
  case truncated
  /// The instance answered with an error of its own, passed on as it came.
  case upstreamError = "upstream_error"
}

/// How an attempt failed before any byte of the answer had gone to the client.
package enum AttemptFailure: Hashable, Sendable {
  /// Nobody listens at the instance's address.
  case refused
  /// The connection ended before a whole answer's head.
  case broken
  /// The instance answered with this status, 500 or above.
  case status(Int)
}

/// What becomes of a request whose attempt failed.
package enum AttemptVerdict: Hashable, Sendable {
  /// It stands in the queue again, before all that came after it.
  case wait
  /// The client gets the instance's own answer: nobody else could do better.
  case passOn
  case fail(RequestFailure)
}
