import Gateway
import PoolCore
import Systemd

/// The event as the journal keeps it.
extension DispatcherEvent {
  private typealias Fields = [(name: String, value: String)]

  var entry: JournalEntry {
    let (priority, message, fields) = content
    return JournalEntry(message, priority: priority, messageID: kind.rawValue, fields: fields)
  }

  private var content: (JournalPriority, String, Fields) {
    switch self {
    case .started(let version, let endpoints, let metrics):
      let metrics = metrics.map { "; metrics at \($0)" } ?? ""
      return (
        .notice, "ollama-pool \(version) answers at \(endpoints.joined(separator: ", "))\(metrics)",
        [("POOL_ENDPOINT", endpoints.joined(separator: " "))]
      )
    case .portMoved(let wanted, let holder, let used):
      let holder = holder ?? "another process"
      return (
        .warning, "\(wanted) is in use by \(holder); the pool listens on \(used) instead", [("POOL_REASON", holder)]
      )
    case .socketUnused(let name):
      return (
        .warning, "the inherited socket \(name) is not used: its name is neither http nor control",
        [("POOL_REASON", name)]
      )
    case .reloaded(let forRestart):
      guard !forRestart.isEmpty else { return (.notice, "the new configuration is in force", []) }
      let keys = forRestart.joined(separator: ", ")
      return (.notice, "the new configuration is in force; \(keys) only after a restart", [("POOL_REASON", keys)])
    case .reloadRefused(let reason):
      return (.error, "configuration not reloaded, nothing has changed: \(reason)", [("POOL_REASON", reason)])
    case .supervisorConnected(let processID, let instances):
      return (.notice, "the supervisor (process \(processID)) is here, with \(Self.count(instances, "instance"))", [])
    case .supervisorGone:
      return (.notice, "the supervisor's connection ended; the instances stay in use as they are", [])
    case .permissionDenied(let method, let userID, let processID):
      return (
        .warning, "user \(userID) (process \(processID)) may not call \(method)", [("POOL_REASON", "user \(userID)")]
      )
    case .decided(let report, let facts): return Self.content(of: report, facts)
    case .requestLost(let request, let outcome): return Self.content(of: request, outcome)
    case .requestCancelled(let request, let userID):
      return (
        .info, "request \(request.id) (\(request.route)) was cancelled by user \(userID)",
        request.fields + [("POOL_REASON", "cancelled by user \(userID)")]
      )
    case .requestMoved(let request, let priority, let userID):
      return (
        .info, "request \(request.id) (\(request.route)) was moved to priority \(priority) by user \(userID)",
        request.fields + [("POOL_REASON", "moved by user \(userID)")]
      )
    case .keyAdded(let key, let userID):
      return (
        .notice,
        "user \(userID) has made the API key \(key.name) (\(key.id)), of the class \(key.className)"
          + (key.role == .administrator ? ", for an administrator" : ""),
        [("POOL_USER", key.name), ("POOL_REASON", "made by user \(userID)")]
      )
    case .keyRevoked(let key, let userID):
      return (
        .notice, "user \(userID) has revoked the API key \(key.name) (\(key.id))",
        [("POOL_USER", key.name), ("POOL_REASON", "revoked by user \(userID)")]
      )
    case .modelReloaded(let reload):
      return (
        .notice,
        "\(reload.instance) loaded \(reload.model) again, with \(reload.to) in place of \(reload.from): a client at "
          + "\(reload.client) asked for that",
        [
          ("POOL_INSTANCE", reload.instance.name), ("POOL_MODEL", reload.model),
          ("POOL_REASON", "\(reload.from) → \(reload.to), asked for by \(reload.client)"),
        ]
      )
    case .noRoom(let refusal, let client):
      let reason =
        switch refusal {
        case .memoryFull: "what is held of requests, or of answers that nobody takes, fills the memory meant for it"
        case .pipelineFull: "it sent more requests behind one another than are kept for a connection"
        default: "there are as many connections as may be"
        }
      return (.warning, "a client at \(client) was refused: \(reason)", [("POOL_REASON", reason)])
    case .connectionLacked(let problem):
      return (
        .warning, "the dispatcher lacks something of its own to reach an instance, and tries again: \(problem)",
        [("POOL_REASON", problem)]
      )
    case .sourcesFailed(let problem):
      return (.warning, "questions are answered without sources, or with fewer: \(problem)", [("POOL_REASON", problem)])
    case .storeFailed(let problem):
      return (.error, "what was to be kept could not be written down: \(problem)", [("POOL_REASON", problem)])
    }
  }

  private static func content(of report: DispatchReport, _ facts: InstanceFacts?) -> (JournalPriority, String, Fields) {
    func fields(_ id: InstanceID, reason: String? = nil, model: String? = nil) -> Fields {
      var fields: Fields = [("POOL_INSTANCE", id.name)]
      if let gpus = facts?.gpus, !gpus.isEmpty { fields.append(("POOL_GPU", gpus.joined(separator: ","))) }
      if let model { fields.append(("POOL_MODEL", model)) }
      if let reason { fields.append(("POOL_REASON", reason)) }
      return fields
    }
    switch report {
    case .instanceRegistered(let id):
      let place = facts.map { " at \($0.address), with \(count($0.slots, "slot"))" } ?? ""
      return (.info, "\(id) is registered\(place)", fields(id))
    case .instanceAnswered(let id, let time):
      return (.info, "\(id) answers, \(text(time)) after its registration", fields(id))
    case .instanceReady(let id, _):
      // After how long says the supervisor, who knows when its start was ordered.
      let total = facts.map { "; max_concurrent is now \($0.maxConcurrent)" } ?? ""
      return (.notice, "\(id) takes requests\(total)", fields(id))
    case .instanceUnhealthy(let id, let reason, let interrupted, let putBack):
      let requests = affected(interrupted: interrupted, putBack: putBack)
      let outlook =
        switch reason.consequence {
        case .pause: ""
        case .finish: "; it finishes what it has begun, and only a new process is believed again"
        case .end: "; only a new process is believed again"
        }
      return (.error, "\(id) is unhealthy: \(reason)\(requests)\(outlook)", fields(id, reason: reason.description))
    case .instanceRecovered(let id): return (.notice, "\(id) answers again", fields(id))
    case .instanceDeregistered(let id, let interrupted, let putBack):
      let requests = affected(interrupted: interrupted, putBack: putBack)
      return (interrupted > 0 ? .warning : .info, "\(id) is deregistered\(requests)", fields(id))
    case .requestPutBack(let request, let id, let failure):
      return (
        .warning, "request \(request) goes back to the queue: \(id) failed before it answered (\(text(failure)))",
        [("POOL_REQUEST", request.description)] + fields(id, reason: text(failure))
      )
    case .modelReloaded(_, let id, let model, let before, let after):
      return (.notice, "\(id) loaded \(model) again, with \(after) in place of \(before)", fields(id, model: model))
    case .preloadEvicted(let id, let model):
      return (.warning, "\(id) no longer holds \(model) in memory; it is loaded again", fields(id, model: model))
    case .preloadFailed(let id, let model, let message):
      return (
        .error, "\(id) could not load \(model) again, and tries later: \(message)",
        fields(id, reason: message, model: model)
      )
    case .preloadPartlyOnGPU(let id, let model):
      let shares = "\(bytes(model.sizeOnGPU)) of \(bytes(model.size)) are on the GPU"
      return (.warning, "\(id) holds \(model.name), but only \(shares)", fields(id, reason: shares, model: model.name))
    case .drainBegan(let running, let refused, let kept):
      let refused = refused > 0 ? "; \(count(refused, "waiting request")) refused" : ""
      let kept = kept > 0 ? "; \(count(kept, "waiting question")) kept for the next start" : ""
      return (.notice, "stopping: waiting for \(count(running, "request")) to end\(kept)\(refused)", [])
    case .drained: return (.notice, "stopped serving: no request is left", [])
    }
  }

  private static func content(
    of request: RequestFacts, _ outcome: RequestOutcome
  ) -> (JournalPriority, String, Fields) {
    let (priority, reason): (JournalPriority, String) =
      switch outcome {
      case .served: (.debug, "served")
      case .cancelled: (.debug, "cancelled")
      case .expired: (.warning, "it waited longer than queue.maximum_wait allows")
      case .failed(.queueFull): (.warning, "the queue is full")
      case .failed(.rateLimited): (.info, "its user has made as many requests within an hour as the class allows")
      case .failed(.tokenLimited): (.info, "its user has had as many tokens within an hour as the class allows")
      case .failed(.tooManyConcurrent): (.info, "its user has as many open requests as the class allows")
      case .failed(.tooManyWaiting): (.info, "its user has as many waiting requests as the class allows")
      case .failed(.shuttingDown) where request.hadBegun: (.warning, "the pool stopped before its answer ended")
      case .failed(.shuttingDown): (.info, "the pool is stopping")
      case .failed(.modelNotServed): (.info, "every instance is reserved for other models")
      case .failed(.storeRefused): (.info, "the model store must not be changed")
      case .failed(.attemptsExhausted): (.error, "instance after instance failed before it answered")
      case .failed(.noAnswer): (.error, "no byte of its answer came within health.first_byte_limit")
      case .failed(.instanceLost): (.error, "the instance was lost")
      case .failed(.truncated): (.error, "the answer ended without its end marker")
      case .failed(.upstreamError): (.warning, "the instance reported an error")
      }
    let place = request.instance.map { " on \($0)" } ?? ""
    let problem = request.problem.map { " (\($0))" } ?? ""
    return (
      priority, "request \(request.id) (\(request.route)) was not served\(place): \(reason)\(problem)",
      request.fields + [("POOL_REASON", reason + problem)]
    )
  }

  private static func affected(interrupted: Int, putBack: Int) -> String {
    let parts =
      (interrupted > 0 ? ["\(count(interrupted, "request")) interrupted"] : [])
      + (putBack > 0 ? ["\(count(putBack, "request")) put back"] : [])
    return parts.isEmpty ? "" : "; " + parts.joined(separator: ", ")
  }

  private static func text(_ failure: AttemptFailure) -> String {
    switch failure {
    case .refused: "it accepts no connection"
    case .broken: "the connection broke"
    case .status(let status): "status \(status)"
    }
  }

  /// In seconds, to the hundredth.
  private static func text(_ time: Duration) -> String { "\((time.seconds * 100).rounded() / 100) s" }

  /// In MiB, as exactly as one can do with.
  private static func bytes(_ count: Int) -> String { "\(count >> 20) MiB" }

  private static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
}

extension RequestFacts {
  fileprivate var fields: [(name: String, value: String)] {
    var fields = [(name: "POOL_REQUEST", value: id.description)]
    if let instance { fields.append(("POOL_INSTANCE", instance.name)) }
    if let model { fields.append(("POOL_MODEL", model)) }
    if let user { fields.append(("POOL_USER", user)) }
    return fields
  }
}
