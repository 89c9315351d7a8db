package import PoolCore

/// Starts, watches and ends instances. It decides nothing: `PoolCore.Fleet` does.
package protocol Launcher: Sendable {
  /// What it is, for people: "transient units of the system manager (systemd 252)".
  var description: String { get }

  /// What happens to instances. For one reader; ends with ``close()``.
  ///
  /// An end may be told before ``start(_:port:)`` of the same instance has returned to its caller: who gets an `ended`
  /// of an invocation that it does not know yet keeps it until then.
  var events: AsyncStream<LauncherEvent> { get }

  /// Whether instances run as the pool's own user, and not as ``InstanceAccount``.
  var startsAsOwnUser: Bool { get }

  /// The instances that are there already, started by an earlier supervisor; from here on their ends are told too.
  func existing() async throws(LaunchError) -> [FoundUnit]

  /// Starts an instance, and returns once its program runs. It need not be listening yet.
  ///
  /// One that runs already is returned as it is, whatever its specification: compare the digests.
  func start(_ specification: InstanceSpecification, port: UInt16) async throws(LaunchError) -> RunningInstance.Unit

  /// Ends an instance and all its processes, and returns when they have ended; nothing happens if that invocation is
  /// over. Its `ended` comes as for any other end.
  /// - Parameter kill: at once. Otherwise it gets ``InstanceSpecification/stopGrace`` after SIGTERM.
  func stop(_ id: InstanceID, _ invocation: InvocationID, kill: Bool) async throws(LaunchError)

  /// Opens or closes an instance's way out to the network while it runs; nothing happens if that invocation is over,
  /// nor where `RunningInstance.Unit.hasNetwork` is nil. Loopback addresses are always open to it.
  func setNetwork(_ id: InstanceID, _ invocation: InvocationID, open: Bool) async throws(LaunchError)

  /// Sends a ``ModelReader``, and returns once it runs; the stream ends with it. Whoever cancels the stream's reader
  /// ends it, too.
  func readAhead(_ order: ReaderOrder) async throws(LaunchError) -> AsyncStream<ReaderMessage>

  /// Whose a process is, now. It reads a file of /proc or some.
  /// - Parameter readsArguments: whether one that is not the pool's is called by its command line. That is in its
  ///   memory: while the process hangs in the kernel with it, as in a driver or for a file server, whoever reads it
  ///   hangs as well. Without, by the kernel's name of it, of at most 15 characters.
  func instance(ofProcess processID: Int32, readsArguments: Bool) -> ProcessOwner

  /// Units go on; child processes end, and it returns when they have.
  func close() async
}

/// An instance that is there already.
package struct FoundUnit: Hashable, Sendable {
  package var id: InstanceID
  package var unit: RunningInstance.Unit
  /// It is being stopped, and still has its GPUs.
  package var isEnding = false
}

package enum LauncherEvent: Hashable, Sendable {
  /// Nothing of it is left. Exactly once for each invocation that was started, found, or appeared.
  case ended(InstanceID, InvocationID, reason: String)
  /// An instance runs that this launcher did not start: somebody restarted its unit, or a start came through whose
  /// answer was lost.
  case appeared(InstanceID, RunningInstance.Unit)
  /// systemd was away and is back. What ended or appeared in between has been told.
  case reconnected
}
