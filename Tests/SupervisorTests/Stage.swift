import ControlInterface
import Foundation
import GPUInventory
import NIOPosix
import PoolConfiguration
import PoolCore
import Synchronization
import TestSupport
import Testing
import Varlink

@testable import Launching
@testable import Supervisor
@testable import Systemd

/// How long a test waits for what takes milliseconds where nothing else runs: a machine full of builds is slow.
let patience = Duration.seconds(60)

/// A folder, a launcher, a dispatcher and a configuration, on which supervisors are started one after the other.
final class Stage: Sendable {
  let folder: TemporaryDirectory
  let launcher: ScriptedLauncher
  let dispatcher = ScriptedDispatcher()
  private let configuration: Mutex<String>
  /// Finds the model store; nil: as the program does.
  private let findsStore = Mutex<(@Sendable (Settings) async throws(LaunchError) -> ModelStore)?>(nil)
  private let journalFile: FileHandle

  /// Four GPUs that the configuration names; nothing takes time that need not.
  static let fourGPUs = """
    gpus: [{uuid: GPU-a}, {uuid: GPU-b}, {uuid: GPU-c}, {uuid: GPU-d}]
    scaling: {min: 1, z: 0, smoothing: 0s, cold_start: 1s, window: 1s, shrink: 100%, idle_hold: 1s}
    restarts: {pause: 50ms, pause_max: 50ms, quarantine_after: 3, quarantine: 1h}

    """

  init(_ configuration: String = Stage.fourGPUs, launcher: ScriptedLauncher = ScriptedLauncher()) throws {
    folder = try TemporaryDirectory()
    self.launcher = launcher
    self.configuration = Mutex(configuration)
    try folder.write("#!/bin/sh\n", to: "ollama", permissions: 0o755)
    try folder.write("", to: "journal")
    journalFile = try #require(FileHandle(forUpdatingAtPath: folder.path(to: "journal")))
  }

  var ollama: String { folder.path(to: "ollama") }
  var dispatcherSocket: String { folder.path(to: "dispatcher.sock") }
  var controlSocket: String { folder.path(to: "supervisor.sock") }

  func configure(_ text: String) { configuration.withLock { $0 = text } }

  /// From now on the model store is found like this.
  func findStore(_ find: @escaping @Sendable (Settings) async throws(LaunchError) -> ModelStore) {
    findsStore.withLock { $0 = find }
  }

  private func read() throws(ConfigurationError) -> LoadedConfiguration {
    let text = configuration.withLock { $0 }
    return try ConfigurationReader.read(text: text + "ollama: \(ollama)\n", name: "test.yaml")
  }

  /// - Parameter launcher: for a later supervisor, one with the same units.
  func start(
    _ launcher: ScriptedLauncher? = nil, inventory: InventoryReader = Stage.noDriver, silence: Duration? = nil,
    gpuPatience: Duration? = nil, gpuEvents: GPUEventSource? = nil
  ) async throws -> SupervisorDaemon {
    var options = try await SupervisorOptions(
      configuration: try read(), readConfiguration: { [self] () throws(ConfigurationError) in try read() },
      state: StateDirectory.take(folder.path), dispatcherSocket: dispatcherSocket, controlSocket: .path(controlSocket),
      journal: Journal(
        identifier: "ollama-pool-supervisor", destination: .text(descriptor: journalFile.fileDescriptor)),
      version: "1.2.3", eventLoopGroup: MultiThreadedEventLoopGroup.singleton, notifiesServiceManager: false,
      launcher: launcher ?? self.launcher, inventory: inventory, gpuEvents: gpuEvents)
    let find = options.findStore
    options.findStore = { [self] (settings, launcher) async throws(LaunchError) in
      guard let scripted = findsStore.withLock(\.self) else { return try await find(settings, launcher) }
      return try await scripted(settings)
    }
    if let silence { options.dispatcherSilence = silence }
    if let gpuPatience { options.gpuPatience = gpuPatience }
    return try await SupervisorDaemon.start(options)
  }

  static let noDriver = InventoryReader(
    nvmlLibrary: "/nonexistent", kernelDriver: "/nonexistent", root: "/nonexistent")

  func startDispatcher() async throws { try await dispatcher.start(at: dispatcherSocket) }

  // MARK: What is seen

  func client() async throws -> VarlinkClient {
    try await VarlinkClient.connect(
      to: controlSocket, on: MultiThreadedEventLoopGroup.singleton, timeout: patience)
  }

  func status() async throws -> SupervisorTypes.Status {
    let client = try await client()
    return try await client.call(
      SupervisorInterface.Method.getStatus.qualified, as: SupervisorCalls.StatusReply.self
    ).status
  }

  func order(_ method: SupervisorInterface.Method, _ parameters: some Encodable & Sendable) async throws {
    let client = try await client()
    _ = try await client.call(method.qualified, parameters, as: NoParameters.self)
  }

  /// The error that an order is refused with.
  func refusal(
    of method: SupervisorInterface.Method, _ parameters: some Encodable & Sendable
  ) async throws -> VarlinkErrorReply {
    let error = try await #require(throws: VarlinkError.self) { try await order(method, parameters) }
    guard case .remote(let reply) = error.code else { throw error }
    return reply
  }

  /// The journal's lines without their times.
  var journal: [String] {
    let text = (try? String(contentsOfFile: folder.path(to: "journal"), encoding: .utf8)) ?? ""
    return text.split(separator: "\n").map { line in
      line.split(separator: " ", maxSplits: 1).last.map(String.init) ?? ""
    }
  }

  func tells(_ text: String) async throws {
    try await eventually(within: patience, "the journal says: \(text)") { journal.contains { $0.contains(text) } }
  }

  /// The running instances that the dispatcher was told of, by role.
  func told(_ role: DispatcherTypes.Role) -> [String] {
    dispatcher.world.set.filter { $0.role == role }.map(\.id).sorted()
  }

  func running(_ ids: InstanceID...) async throws {
    try await eventually(within: patience, "just \(ids) run; now \(launcher.world.units.keys.sorted())") {
      launcher.world.units.keys.sorted() == ids.sorted()
    }
  }
}

/// Runs `body` with a supervisor on the stage, and stops it whatever happens. At the end, no order was illegal.
func withSupervisor(
  _ stage: Stage, hasDispatcher: Bool = true, sourceLocation: SourceLocation = #_sourceLocation,
  _ body: (SupervisorDaemon) async throws -> Void
) async throws {
  if hasDispatcher { try await stage.startDispatcher() }
  let daemon = try await stage.start()
  do {
    try await body(daemon)
  } catch {
    // What came before says most about what did not come.
    Issue.record("the journal: \n\(stage.journal.joined(separator: "\n"))", sourceLocation: sourceLocation)
    await daemon.stop(instances: .stop)
    await stage.dispatcher.stop()
    throw error
  }
  await daemon.stop(instances: .stop)
  await stage.dispatcher.stop()
  #expect(stage.launcher.world.violations == [], sourceLocation: sourceLocation)
  #expect(stage.dispatcher.world.violations == [], sourceLocation: sourceLocation)
}
