/// What the supervisor's shell has to do.
package enum FleetAction: Hashable, Sendable {
  /// Start an instance in this placement. `attempt` is the number of failures before, from 0: each moves on to the
  /// next port, in case the last one was taken.
  case start(InstanceID, attempt: Int)
  /// End the unit; `kill`: at once, nothing of it can be saved.
  case stop(InstanceID, InvocationID, kill: Bool)
  /// Tell the dispatcher the whole wanted set.
  case setInstances(WantedSet)
  /// Give the instance a way out to the network, or take it away.
  case openNetwork(InstanceID, InvocationID, Bool)
  /// Ask the dispatcher to retire it, and come back with the answer.
  case retire(InstanceID, InvocationID)
  /// Send a reader for the files of these models, in this order, and come back with what it says and with its end.
  case readAhead([String])
  /// Worth an entry in the journal.
  case report(FleetReport)
}

/// What the journal tells of the supervisor's decisions. A committed decision reports once.
package enum FleetReport: Hashable, Sendable {
  case targetChanged(from: Int, to: Int, ready: Int, starting: Int, demand: Int, ScalingReason)
  case starting(InstanceID, attempt: Int)
  case adopted(InstanceID, RunningInstance.Unit)
  case running(InstanceID, RunningInstance.Unit)
  case ready(InstanceID, ColdStart)
  case failed(InstanceID, reason: String, failures: Int, retryIn: Duration)
  case quarantined(InstanceID, reason: String, failures: Int, retryIn: Duration)
  case draining(InstanceID, DrainReason)
  case stopping(InstanceID, StopReason)
  case stopped(InstanceID, StopReason)
  case replacementHeld(by: InstanceID, reason: String)
  case dispatcherFound
  case dispatcherLost
  case scaleSet(minimum: Int?, maximum: Int?)
  case cordoned(gpu: String, reason: String, until: Instant?)
  case uncordoned(gpu: String)
  /// A cordon has come to its end by itself.
  case cordonEnded(gpu: String)
  /// Something stands against a start that is wanted. Told again when it is another kind of obstacle.
  case startHeld(InstanceID, StartObstacle)
  /// What drained goes on: others have left its GPU.
  case goesOn(InstanceID)
  /// A GPU is out; so many times in a row its readings have shown trouble.
  case gpuFailed(gpu: String, reason: String, inARow: Int)
  /// A GPU that had failed may be used again.
  case gpuBack(gpu: String)
  /// What the driver told of a GPU that goes on.
  case gpuEvent(gpu: String, GPUFault)
  /// A model is not wholly on its instance's GPUs, and the instance goes on.
  case modelBesideGPU(InstanceID, model: String, InstanceMemory.WhyBeside)
  /// Another instance writes the model store from now on; nil where none does.
  case writerChanged(InstanceID?)
  /// A model's files have been read into memory, or could not be.
  case modelRead(ReadAhead.Outcome)
  /// No model's files could be read.
  case readAheadFailed(reason: String)
}
