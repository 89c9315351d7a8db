import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import OllamaAPI

/// One server: what its connections share. Belongs to its event loop.
final class Server {
  let settings: Settings
  let faults: Faults
  let store: ModelStore
  let scheduler: Scheduler
  /// Simulated GPUs, where there are any.
  private let gpus: GPUMemory?
  let eventLoop: NIOIsolatedEventLoop
  private let hostRule: HostRule
  private let originRule: OriginRule
  /// Whether it listens beyond loopback, where Ollama answers to any name.
  private var answersAnyHost = false
  private var uploads = 0

  init(settings: Settings, registry: RunnerRegistry, eventLoop: any EventLoop) throws(SimulatorError) {
    self.settings = settings
    self.eventLoop = eventLoop.assumeIsolated()
    faults = Faults(settings)
    store = try ModelStore(folder: settings.modelsFolder)
    gpus = try settings.gpuFolder.map { folder throws(SimulatorError) in
      GPUMemory(folder: folder, uuids: settings.devices.all.map(\.id), state: try NVMLState.read(in: folder))
    }
    scheduler = Scheduler(
      settings: settings, faults: faults, gpus: gpus, registry: registry, eventLoop: self.eventLoop)
    let addresses = (try? NIOCore.System.enumerateDevices()) ?? []
    hostRule = HostRule(
      hostname: Self.hostname, localAddresses: addresses.compactMap { $0.address?.ipAddress })
    originRule = OriginRule(extra: settings.origins)
  }

  private static var hostname: String {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return "" }
    return name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }

  // MARK: Start

  /// Discovers GPUs for a while, as Ollama does between listening and serving, and then accepts.
  func begin(on listener: any Channel) {
    let address = listener.localAddress
    answersAnyHost = !(address?.ipAddress.map { $0.hasPrefix("127.") || $0 == "::1" } ?? true)
    let port = address?.port ?? settings.port
    let place = "\(address?.ipAddress ?? settings.host):\(port)"
    Log.info("Listening on \(place) (version \(OllamaSimulator.version))")
    self.faults.use(names: [settings.instance, String(port)].compactMap { $0 })
    let faults = faults.current
    if let status = faults.exitStatus {
      Log.error("told to exit at start", source: "faults")
      _exit(Int32(truncatingIfNeeded: status))
    }
    let seconds = faults.startDelay ?? settings.behaviour.discoverySeconds
    eventLoop.scheduleTask(in: .nanoseconds(Int64(seconds * 1e9))) { self.serve(listener) }
  }

  private func serve(_ listener: any Channel) {
    guard !faults.current.contains(.neverReady) else {
      // A fault in a file may be lifted.
      eventLoop.scheduleTask(in: .milliseconds(100)) { self.serve(listener) }
      return
    }
    let fellBack = faults.current.contains { $0 == .cpuFallback || $0 == .unsaidCPUFallback }
    settings.devices.log(gpus, fellBack: fellBack)
    listener.setOption(.autoRead, value: true).whenFailure { Log.error("cannot accept: \($0)") }
  }

  // MARK: Requests

  /// Answers a request whose head is there, or leaves it for its body. Returns what takes the body as it comes, where
  /// that is wanted.
  func begin(_ exchange: Exchange) -> BlobUpload? {
    if faults.current.contains(.hang) {
      exchange.isIgnored = true
      return nil
    }
    let method = exchange.head.method.rawValue
    let host = exchange.head.headers.first(name: "host")
    switch originRule.verdict(
      origin: exchange.head.headers.first(name: "origin"), host: host, isPreflight: method == "OPTIONS")
    {
    case .sameOrigin: break
    case .refused:
      exchange.answer(status: 403)
      return nil
    case .allowed(let headers):
      exchange.extraHeaders = headers
      if method == "OPTIONS" {
        exchange.answer(status: 204)
        return nil
      }
    }
    guard answersAnyHost || hostRule.allows(host ?? "") else {
      exchange.answer(status: 403)
      return nil
    }
    switch RouteTable.ollama.resolve(method: method, path: exchange.head.uri) {
    case .notFound:
      exchange.answer(status: 404, contentType: "text/plain", Array("404 page not found".utf8))
    case .methodNotAllowed(let allowed):
      exchange.extraHeaders.append(("Allow", allowed.joined(separator: ", ")))
      exchange.answer(status: 405, contentType: "text/plain", Array("405 method not allowed".utf8))
    case .route(let route):
      exchange.route = route
      if route.pattern == "/api/blobs/:digest" { return beginBlob(exchange) }
    }
    return nil
  }

  /// Answers a request that is there as a whole.
  func serve(_ exchange: Exchange) {
    guard let route = exchange.route else { return }
    if settings.logsRequests { Log.info("request", ["method": route.method, "path": exchange.head.uri]) }
    switch route.kind {
    case .inference(_, let endpoint): Inference.serve(exchange, endpoint, self)
    case .modelManagement: Management.serve(exchange, route, self)
    case .root, .metadata, .processList, .account: Information.serve(exchange, route, self)
    // No route of Ollama's.
    case .pool: exchange.answer(status: 404)
    }
  }

  private func beginBlob(_ exchange: Exchange) -> BlobUpload? {
    let digest = exchange.lastPathSegment.lowercased().replacing("sha256-", with: "sha256:")
    guard let path = store.blobPath(digest) else {
      exchange.fail(.badRequest("invalid digest format"))
      return nil
    }
    let isThere = store.hasBlob(digest)
    guard exchange.route?.method == "POST", !isThere else {
      exchange.answer(status: isThere ? 200 : 404)
      return nil
    }
    exchange.continueIfExpected()
    do throws(SimulatorError) {
      uploads += 1
      return try BlobUpload(digest: digest, path: path, number: uploads)
    } catch {
      exchange.fail(Refusal(status: 500, message: error.message))
      return nil
    }
  }
}
