import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import UnixSignals

/// The server from its start to the signal that ends it.
enum Service {
  static func run(_ settings: Settings) async throws(SimulatorError) {
    Log.info(
      "ollama-simulator: a stand-in for Ollama, its answers are made up", ["version": OllamaSimulator.version])
    try SmallFile.makeFolder(settings.home + "/.ollama")
    let registry = RunnerRegistry()
    // One thread does all: nothing here is worth a second one, and no state needs a lock.
    let eventLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    do {
      let server = try await eventLoop.submit {
        NIOLoopBound(try Server(settings: settings, registry: registry, eventLoop: eventLoop), eventLoop: eventLoop)
      }.get()
      let listener = try await listen(server, settings, eventLoop)
      try await eventLoop.submit { server.value.begin(on: listener) }.get()
    } catch let error as SimulatorError {
      throw error
    } catch let error as IOError {
      throw SimulatorError(call: "listen tcp \(settings.host):\(settings.port): bind", errno: error.errnoCode)
    } catch {
      throw SimulatorError("listen tcp \(settings.host):\(settings.port): \(error)")
    }
    for await _ in signals { break }
    // No drain: the connections close with the process, and the runners go with it.
    registry.killAll()
    _exit(0)
  }

  /// Listens, and accepts nothing yet: clients can connect, and wait.
  private static func listen(
    _ server: NIOLoopBound<Server>, _ settings: Settings, _ eventLoop: any EventLoop
  ) async throws -> any Channel {
    try await ServerBootstrap(group: eventLoop)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelOption(.autoRead, value: false)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: true, withErrorHandling: true)
          try pipeline.addHandler(HTTPHandler(server.value))
        }
      }
      .bind(host: settings.host, port: settings.port).get()
  }
}
