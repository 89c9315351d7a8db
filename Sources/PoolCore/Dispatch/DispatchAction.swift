/// What the shell has to do. An action names only what the core decided; the shell knows sockets and texts.
package enum DispatchAction: Hashable, Sendable {
  /// Send the request to this instance.
  case start(RequestID, on: InstanceID)
  /// Drop the attempt: the request waits again, or is suspended. Its answer has not begun, unless it is suspended.
  case withdraw(RequestID)
  /// The request has ended: answer with the error, or end the stream that had begun with it.
  ///
  /// - retryAfter: when it is worth asking again, as far as that is known.
  case end(RequestID, RequestOutcome, retryAfter: Duration? = nil)
  /// Age has lifted a request that waits into this priority. Where it is written down, it is to be found there.
  case lifted(RequestID, toPriority: Int)
  /// Ask the instance for its version, within ``DispatchLimits/probeTimeout``.
  case probe(InstanceID, InvocationID)
  /// Load this model on the instance and pin it.
  case load(InstanceID, InvocationID, model: String)
  /// Ask the instance what it holds in memory, within ``DispatchLimits/listTimeout``.
  case askLoaded(InstanceID, InvocationID)
  /// Worth an entry in the journal.
  case report(DispatchReport)
}

/// What the journal tells of the dispatcher's decisions. A committed decision reports once.
package enum DispatchReport: Hashable, Sendable {
  case instanceRegistered(InstanceID)
  /// First 200 of an instance, so long after its registration.
  case instanceAnswered(InstanceID, after: Duration)
  /// Models are loaded, its slots count from now on.
  case instanceReady(InstanceID, after: Duration)
  case instanceUnhealthy(InstanceID, UnhealthyReason, interrupted: Int, putBack: Int)
  case instanceRecovered(InstanceID)
  case instanceDeregistered(InstanceID, interrupted: Int, putBack: Int)
  case requestPutBack(RequestID, from: InstanceID, AttemptFailure)
  /// The instance had the model in memory, and loaded it anew because the request has other options.
  case modelReloaded(by: RequestID, on: InstanceID, model: String, from: RunnerOptions, to: RunnerOptions)
  /// A model under `preload` is no longer in the instance's memory. It is loaded again.
  case preloadEvicted(InstanceID, model: String)
  /// It could not be loaded again. That is tried once more later.
  case preloadFailed(InstanceID, model: String, message: String)
  /// A model under `preload` is loaded, and not all of it is on the GPU.
  case preloadPartlyOnGPU(InstanceID, LoadedModel)
  /// Of those that waited or were suspended some may be kept for the next start.
  case drainBegan(running: Int, refused: Int, kept: Int)
  case drained
}
