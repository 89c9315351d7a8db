import Console
import Gateway
import Glibc
import NIOCore
import PoolConfiguration
import PoolCore
import Systemd

/// Opens the sockets on which clients and Prometheus come in.
struct Listening {
  /// How many ports one that is taken may move on.
  static let portSpan = 100

  let options: DispatcherOptions
  let parts: NIOLoopBound<DispatcherParts>
  let loop: any EventLoop

  private var settings: Settings { options.settings }

  // MARK: Inherited sockets

  private static let names = (http: "http", control: "control")

  var inheritedControl: ListenSocket? { options.inherited.first { $0.name == Self.names.control } }
  var inheritsEndpoint: Bool { !inheritedHTTP.isEmpty }
  private var inheritedHTTP: [ListenSocket] { options.inherited.filter { $0.name == Self.names.http } }

  /// Those whose name means nothing here.
  var unusedSockets: [ListenSocket] {
    options.inherited.filter { $0.name != Self.names.http && $0.name != Self.names.control }
      + options.inherited.filter { $0.name == Self.names.control }.dropFirst()
  }

  /// - Throws: `ConfigurationError` for one that anybody could reach, `DispatcherError` for one that is of no use.
  func checkInherited() throws {
    var addresses: [ListenAddress] = []
    for socket in inheritedHTTP {
      switch socket.kind {
      case .unix: break
      case .tcp(let address, let port, _):
        guard let port = UInt16(exactly: port), let listens = ListenAddress(host: address, port: port) else {
          throw DispatcherError.unusableSocket(named: socket.name, "has an address of no known kind")
        }
        addresses.append(listens)
      case .other:
        throw DispatcherError.unusableSocket(named: socket.name, "is no stream socket that listens")
      }
    }
    try settings.listenerCheck(inherited: addresses)
  }

  // MARK: The endpoint

  /// - Returns: where clients reach the pool, as URLs; for a Unix socket its address.
  func openEndpoint() async throws -> [String] {
    guard inheritedHTTP.isEmpty else {
      var endpoints: [String] = []
      for socket in inheritedHTTP {
        let address = try await loop.flatSubmit { [parts] in
          parts.value.gateway.listen(inherited: socket.descriptor)
        }.get()
        endpoints.append(Self.url(of: address))
      }
      return endpoints
    }
    var endpoints: [String] = []
    for address in settings.listen {
      let bound = try await open(address, key: "listen") { [parts, loop] socketAddress in
        try await loop.flatSubmit { parts.value.gateway.listen(on: socketAddress) }.get()
      }
      endpoints.append(Self.url(of: bound))
    }
    return endpoints
  }

  // MARK: Metrics

  /// - Returns: nil where none are wanted.
  func openMetrics() async throws -> MetricsListener? {
    guard options.servesMetrics, let address = settings.metricsListen else { return nil }
    let source = MetricsSource(
      metrics: { [parts, options] in
        let (shell, gateway) = (parts.value.shell, parts.value.gateway)
        return shell.metricsText(version: options.version, openConnections: gateway.openConnections)
      },
      readiness: { [parts] in parts.value.shell.readiness })
    return try await open(address, key: "metrics_listen") { [loop] socketAddress in
      try await MetricsListener.start(on: socketAddress, loop: loop, source: source)
    }
  }

  static func metricsURL(_ listener: MetricsListener) -> String { url(of: listener.address) + "/metrics" }

  // MARK: Ports that are taken

  /// Opens `address`, or the next free port where the options allow that.
  private func open<Opened>(
    _ address: ListenAddress, key: String, _ listen: (SocketAddress) async throws -> Opened
  ) async throws -> Opened {
    var refusal: DispatcherError?
    for candidate in Self.candidates(for: address, options) {
      do {
        let opened = try await listen(try SocketAddress(ipAddress: candidate.host, port: Int(candidate.port)))
        if refusal != nil { await tellMoved(from: address, to: candidate) }
        return opened
      } catch let error as IOError {
        // Of the address that was asked for.
        refusal = refusal ?? .cannotListen(on: address, key: key, errno: error.errnoCode)
        guard error.errnoCode == EADDRINUSE else { break }
      }
    }
    throw refusal ?? .cannotListen(on: address, key: key, errno: EADDRINUSE)
  }

  /// The address itself, then those with the next ports that nothing else is meant to have.
  static func candidates(for address: ListenAddress, _ options: DispatcherOptions) -> [ListenAddress] {
    let settings = options.settings
    guard options.nextFreePort, address.port != 0 else { return [address] }
    let reserved = Set((settings.listen + (settings.metricsListen.map { [$0] } ?? [])).map { Int($0.port) })
    let first = Int(settings.instancePorts)
    let instances = first..<first + Settings.instancePortSpan
    let next = (1...portSpan).map { Int(address.port) + $0 }
      .filter { !reserved.contains($0) && !instances.contains($0) }
    return [address]
      + next.compactMap { port in
        UInt16(exactly: port).flatMap { ListenAddress(host: address.host, port: $0) }
      }
  }

  private func tellMoved(from address: ListenAddress, to used: ListenAddress) async {
    let holder = PortHolder.describe(port: address.port)
    _ = try? await loop.submit { [parts] in
      parts.value.shell.tell(
        .portMoved(from: address.description, holder: holder, to: used.description))
    }.get()
  }

  static func url(of address: SocketAddress) -> String {
    guard let ip = address.ipAddress, let port = address.port else { return "unix:\(address.pathname ?? "")" }
    return ip.contains(":") ? "http://[\(ip)]:\(port)" : "http://\(ip):\(port)"
  }
}
