import Console
import Gateway
import Glibc
import NIOCore
import NIOPosix
import OllamaAPI
package import PoolConfiguration
import PoolCore
import QueueStore
import Systemd
import Varlink

/// The dispatcher: one event loop with the endpoint, the control socket, the metrics and the core between them.
///
/// ```swift
/// let daemon = try await DispatcherDaemon.start(options)
/// …
/// await daemon.drain(within: settings.drainTimeout)
/// await daemon.close()
/// ```
package final class DispatcherDaemon: Sendable {
  /// Where clients reach the pool, as URLs.
  package let endpoints: [String]
  /// The URL of the metrics; nil where none are served.
  package let metricsEndpoint: String?
  /// Where the control socket is; nil for an inherited one without a name.
  package let controlSocket: String?

  /// How long what has been answered may take to reach slow clients once nothing runs any more.
  private static let lastAnswersTime = Duration.seconds(2)

  private let group: MultiThreadedEventLoopGroup
  private let loop: any EventLoop
  private let parts: NIOLoopBound<DispatcherParts>
  private let control: VarlinkServer
  private let metrics: MetricsListener?
  private let notifiesServiceManager: Bool
  /// What it was started with: the addresses in use.
  private let startedWith: Settings
  /// Whether systemd opened the endpoint, so that `listen` means nothing.
  private let inheritsEndpoint: Bool

  private init(
    group: MultiThreadedEventLoopGroup, loop: any EventLoop, parts: NIOLoopBound<DispatcherParts>, opened: Opened,
    options: DispatcherOptions
  ) {
    self.group = group
    self.loop = loop
    self.parts = parts
    endpoints = opened.endpoints
    metricsEndpoint = opened.metrics.map(Listening.metricsURL)
    controlSocket = opened.controlSocket
    control = opened.control
    metrics = opened.metrics
    notifiesServiceManager = options.notifiesServiceManager
    startedWith = options.settings
    inheritsEndpoint = opened.inheritsEndpoint
  }

  private struct Opened {
    var endpoints: [String]
    var inheritsEndpoint: Bool
    var control: VarlinkServer
    var controlSocket: String?
    var metrics: MetricsListener?
  }

  // MARK: Start

  /// Opens all sockets and begins to serve.
  ///
  /// - Throws: `ConfigurationError` for an inherited socket that the settings forbid, `DispatcherError` for an address
  ///   that can't be had, `VarlinkError` for the control socket.
  package static func start(_ options: DispatcherOptions) async throws -> DispatcherDaemon {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    DescriptorLimit.raise()
    let parts: NIOLoopBound<DispatcherParts>
    do {
      let state = try await DurableState.open(options.stateFolder, options.settings, on: loop)
      parts = try await loop.submit { NIOLoopBound(DispatcherParts(loop: loop, options, state), eventLoop: loop) }.get()
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
    do {
      let opened = try await open(Listening(options: options, parts: parts, loop: loop), options, on: loop)
      let daemon = DispatcherDaemon(group: group, loop: loop, parts: parts, opened: opened, options: options)
      try await daemon.begin(options)
      return daemon
    } catch {
      try? await loop.flatSubmit { parts.value.close() }.get()
      try? await group.shutdownGracefully()
      throw error
    }
  }

  private static func open(
    _ listening: Listening, _ options: DispatcherOptions, on loop: any EventLoop
  ) async throws -> Opened {
    for socket in listening.unusedSockets {
      Glibc.close(socket.descriptor)
      options.journal.send(DispatcherEvent.socketUnused(name: socket.name).entry)
    }
    try listening.checkInherited()
    // The endpoint last: whoever waits in its socket must not be let in and dropped because something else is amiss.
    let metrics = try await listening.openMetrics()
    let (control, path) = try await openControl(listening, options, on: loop)
    do {
      return Opened(
        endpoints: try await listening.openEndpoint(), inheritsEndpoint: listening.inheritsEndpoint, control: control,
        controlSocket: path, metrics: metrics)
    } catch {
      await control.close()
      throw error
    }
  }

  private static func openControl(
    _ listening: Listening, _ options: DispatcherOptions, on loop: any EventLoop
  ) async throws -> (VarlinkServer, path: String?) {
    let parts = listening.parts
    let shell = try await loop.submit { NIOLoopBound(parts.value.shell, eventLoop: loop) }.get()
    let service = ControlService(
      shell: shell, rights: ControlRights(ownUserID: geteuid(), instanceUserID: options.instanceUserID),
      version: options.version)
    let endpoint: VarlinkServer.Endpoint
    let path: String?
    if let socket = listening.inheritedControl {
      endpoint = .inherited(descriptor: socket.descriptor)
      path = if case .unix(let path) = socket.kind { path } else { nil }
    } else {
      endpoint = .path(options.controlSocket)
      path = options.controlSocket
    }
    let server = try await VarlinkServer.start(
      at: endpoint, serving: [service],
      as: VarlinkService(
        vendor: "ollama-pool", product: "ollama-pool dispatcher", version: options.version, url: ""),
      on: loop, onClose: { connection, _ in shell.value.connectionClosed(connection) })
    return (server, path)
  }

  private func begin(_ options: DispatcherOptions) async throws {
    try await loop.submit { [self] in
      let shell = parts.value.shell
      shell.control.endpoints = endpoints
      shell.control.metricsEndpoint = metricsEndpoint
      if notifiesServiceManager { shell.status = ServiceStatus(loop: loop) }
      shell.tell(.started(version: options.version, endpoints: endpoints, metrics: metricsEndpoint))
    }.get()
    if notifiesServiceManager { ServiceManager.notifyReady(status: "Serving at \(endpoints.joined(separator: ", "))") }
  }

  // MARK: Life

  /// Puts new settings in force, as far as that goes without a new start.
  ///
  /// - Returns: the keys whose new values wait for the next start.
  @discardableResult
  package func reload(_ new: Settings) async -> [String] {
    if notifiesServiceManager { ServiceManager.notifyReloading() }
    let forRestart =
      (inheritsEndpoint || startedWith.listen == new.listen ? [] : ["listen"])
      + (startedWith.metricsListen == new.metricsListen ? [] : ["metrics_listen"])
    try? await loop.submit { [parts] in
      parts.value.adopt(new)
      parts.value.shell.tell(.reloaded(forRestart: forRestart))
    }.get()
    if notifiesServiceManager { ServiceManager.notifyReady() }
    return forRestart
  }

  /// Reports a new configuration that is wrong; the old settings stay in force.
  package func reloadRefused(_ error: ConfigurationError) async {
    try? await loop.submit { [parts] in parts.value.shell.tell(.reloadRefused(reason: error.description)) }.get()
  }

  /// Stops accepting, refuses what waits, and lets what runs end by itself within `time`; then cuts the rest. A second
  /// call may make the time shorter.
  package func drain(within time: Duration) async {
    let deadline = Instant.now + time
    let keepAlive = notifiesServiceManager ? await extendStopTimeout(until: deadline) : nil
    let drained = loop.flatSubmit { [parts] in
      parts.value.gateway.stopAccepting()
      return parts.value.shell.drain(until: deadline)
    }
    try? await drained.get()
    await answersAreOut()
    keepAlive?.cancel()
  }

  /// Tells systemd again and again that stopping takes a little longer, as long as the loop turns.
  private func extendStopTimeout(until deadline: Instant) async -> RepeatedTask {
    ServiceManager.notifyStopping(status: "Stopping: running requests may end by themselves")
    return loop.scheduleRepeatedTask(initialDelay: .zero, delay: .seconds(2)) { task in
      guard .now < deadline + Self.lastAnswersTime else { return task.cancel() }
      ServiceManager.extendTimeout(by: .seconds(10))
    }
  }

  private func answersAreOut() async {
    let clock = ContinuousClock()
    let deadline = clock.now + Self.lastAnswersTime
    while clock.now < deadline {
      let open = try? await loop.submit { [parts] in parts.value.gateway.openConnections }.get()
      guard let open, open > 0 else { return }
      try? await clock.sleep(for: .milliseconds(20))
    }
  }

  /// Closes everything; what still runs is cut. The daemon is of no use afterwards.
  package func close() async {
    try? await loop.flatSubmit { [parts] in parts.value.close() }.get()
    await control.close()
    await metrics?.close()
    try? await group.shutdownGracefully()
  }
}

/// What lives on the loop.
struct DispatcherParts {
  let shell: DispatcherShell
  let gateway: Gateway

  /// On `loop`.
  init(loop: any EventLoop, _ options: DispatcherOptions, _ state: DurableState) {
    let limits = GatewayLimits(options.settings)
    shell = DispatcherShell(
      loop: loop, limits: options.settings.dispatchLimits, modelRules: limits.modelRules,
      access: AccessControl(options.settings), store: state.store, journal: DispatcherJournal(options.journal))
    gateway = Gateway(
      loop: loop, delegate: shell, limits: limits, hosts: .ofThisMachine,
      origins: OriginRule(extra: options.settings.origins))
    shell.begin(with: state, settings: options.settings, gateway)
  }

  func adopt(_ settings: Settings) {
    let limits = GatewayLimits(settings)
    shell.adopt(settings, modelRules: limits.modelRules)
    gateway.adopt(limits: limits, origins: OriginRule(extra: settings.origins))
  }

  func close() -> EventLoopFuture<Void> {
    shell.status?.close()
    let closed = gateway.close()
    shell.close()
    let shell = NIOLoopBound(shell, eventLoop: shell.loop)
    return closed.flatMap {
      // What the last exchanges took is told as they end.
      shell.value.saveUsage()
      return shell.value.closeHistory().flatMap { shell.value.store.close() }
    }
  }
}

extension GatewayLimits {
  init(_ settings: Settings) {
    self.init()
    requestBody = settings.queue.requestBody.bytes
    // Whatever is within the other limits finds room on an idle pool.
    bodies = max(settings.queue.bodies.bytes, requestBody + head)
    connections = min(connections, DescriptorLimit.clients)
    modelRules = ModelRules(settings)
  }
}

extension ModelRules {
  fileprivate init(_ settings: Settings) {
    self.init(others: ModelRule(placesLayersByRoom: !settings.allowCPU))
    for (name, model) in settings.models {
      // Where a length is fixed, nobody asks for more.
      let length = model.numCtx.map { ModelRule.ContextLength.fixed($0) } ?? model.maxNumCtx.map { .most($0) }
      named[ModelName.key(of: name), default: others].contextLength = length
    }
  }
}
