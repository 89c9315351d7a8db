import NIOCore
import OllamaAPI
import PoolCore

/// Requests that change the model store.
enum Management {
  static func serve(_ exchange: Exchange, _ route: Route, _ server: Server) {
    do throws(Refusal) {
      let request = try RequestBody.json(exchange)
      switch route.pattern {
      case "/api/pull": try pull(request, exchange, server)
      case "/api/push": try push(request, exchange, server)
      case "/api/create": try create(request, exchange, server)
      case "/api/copy": try copy(request, exchange, server)
      default: try delete(request, exchange, server)
      }
    } catch {
      exchange.fail(error)
    }
  }

  static func answer(_ exchange: Exchange, upload outcome: BlobUpload.Outcome?) {
    switch outcome {
    case .created: exchange.answer(status: 201)
    case .mismatch(let actual):
      exchange.fail(
        .badRequest("digest mismatch, expected \"\(exchange.lastPathSegment)\", got \"\(actual)\""))
    case .failed(let error): exchange.fail(Refusal(status: 500, message: error.message))
    case nil: exchange.fail(.badRequest("missing request body"))
    }
  }

  private static func name(_ request: JSON) throws(Refusal) -> ModelName {
    let text = (request["model"] ?? request["name"])?.string ?? ""
    guard let name = ModelName(text) else { throw .badRequest("invalid model name") }
    return name
  }

  private static func pull(_ request: JSON, _ exchange: Exchange, _ server: Server) throws(Refusal) {
    let name = try name(request)
    let model = StoredModel(pulled: name)
    let digest = model.digest
    var steps: [Progress.Step] = [.init(["status": "pulling manifest"])]
    // A way to see a pull fail: no such model is anywhere.
    if name.model.contains("does-not-exist") {
      steps.append(.init(error: "pull model manifest: file does not exist"))
    } else {
      let parts = 10
      for part in 0...parts {
        steps.append(
          .init([
            "status": .string("pulling \(digest.prefix(12))"), "digest": .string("sha256:\(digest)"),
            "total": .integer(model.size), "completed": part == 0 ? nil : .integer(model.size / parts * part),
          ]))
      }
      steps.append(.init(["status": "verifying sha256 digest"]))
      steps.append(.init(["status": "writing manifest"]) { try? server.store.save(model) })
      steps.append(.init(["status": "success"]))
    }
    Progress(steps, over: server.settings.behaviour.pullSeconds, exchange, server).start(streams: streams(request))
  }

  private static func push(_ request: JSON, _ exchange: Exchange, _ server: Server) throws(Refusal) {
    let name = try name(request)
    var steps: [Progress.Step] = [.init(["status": "retrieving manifest"])]
    if let model = server.store.find(name.description) {
      steps.append(
        .init([
          "status": .string("pushing \(model.digest.prefix(12))"), "digest": .string("sha256:\(model.digest)"),
          "total": .integer(model.size), "completed": .integer(model.size),
        ]))
      steps.append(.init(["status": "pushing manifest"]))
      steps.append(.init(["status": "success"]))
    } else {
      steps.append(.init(error: "couldn't retrieve manifest: file does not exist"))
    }
    Progress(steps, over: server.settings.behaviour.pullSeconds, exchange, server).start(streams: streams(request))
  }

  private static func create(_ request: JSON, _ exchange: Exchange, _ server: Server) throws(Refusal) {
    let name = try name(request)
    var model: StoredModel
    if let from = request["from"]?.string, !from.isEmpty {
      guard let base = server.store.find(from) else { throw .modelNotFound(from) }
      model = StoredModel(copying: base, to: name)
    } else if case .object(let files)? = request["files"], !files.isEmpty {
      for (_, digest) in files where !server.store.hasBlob(digest.string ?? "") {
        throw .badRequest("invalid digest format: blob \(digest.string ?? "") not found")
      }
      model = StoredModel(pulled: name)
    } else {
      throw .badRequest("neither 'from' or 'files' was specified")
    }
    if let system = request["system"]?.string { model.system = system }
    model.digest = SHA256.hex("created \(model.digest) \(name.key) \(model.system)".utf8)
    let made = model
    let steps: [Progress.Step] = [
      .init(["status": .string("using existing layer sha256:\(made.digest)")]),
      .init(["status": "writing manifest"]) { try? server.store.save(made) }, .init(["status": "success"]),
    ]
    Progress(steps, over: 0, exchange, server).start(streams: streams(request))
  }

  private static func copy(_ request: JSON, _ exchange: Exchange, _ server: Server) throws(Refusal) {
    let source = request["source"]?.string ?? ""
    let destination = request["destination"]?.string ?? ""
    guard ModelName(source) != nil else { throw .badRequest("source \"\(source)\" is invalid") }
    guard let name = ModelName(destination) else { throw .badRequest("destination \"\(destination)\" is invalid") }
    guard let model = server.store.find(source) else {
      throw Refusal(status: 404, message: "model \"\(source)\" not found")
    }
    do throws(SimulatorError) {
      try server.store.save(StoredModel(copying: model, to: name))
    } catch {
      throw Refusal(status: 500, message: error.message)
    }
    exchange.answer(status: 200)
  }

  private static func delete(_ request: JSON, _ exchange: Exchange, _ server: Server) throws(Refusal) {
    let name = try name(request)
    let model = server.store.find(name.description)
    guard server.store.delete(name.description) else {
      throw .modelNotFound((request["model"] ?? request["name"])?.string ?? "")
    }
    if let model { server.scheduler.unload(model) }
    exchange.answer(status: 200)
  }

  private static func streams(_ request: JSON) -> Bool { request["stream"]?.bool ?? true }
}

/// Steps that are reported as they are done, a line each.
final class Progress {
  struct Step {
    let report: JSON
    let isError: Bool
    let work: () -> Void

    init(_ report: JSON, _ work: @escaping () -> Void = {}) {
      self.report = report
      self.work = work
      isError = false
    }

    init(error: String) {
      report = ["error": .string(error)]
      work = {}
      isError = true
    }
  }

  private var steps: ArraySlice<Step>
  private let pause: TimeAmount
  private let exchange: Exchange
  private let server: Server
  private var streams = true

  /// - Parameter seconds: how long all steps take together.
  init(_ steps: [Step], over seconds: Double, _ exchange: Exchange, _ server: Server) {
    self.steps = steps[...]
    pause = .nanoseconds(Int64(seconds * 1e9 / Double(max(1, steps.count))))
    self.exchange = exchange
    self.server = server
  }

  func start(streams: Bool) {
    self.streams = streams
    if streams { exchange.begin(contentType: "application/x-ndjson") }
    next()
  }

  private func next() {
    // Ollama, too, stops a pull when its last client goes.
    guard !exchange.isGone, let step = steps.popFirst() else { return }
    step.work()
    if streams { exchange.write(step.report.line) }
    guard steps.isEmpty else {
      server.eventLoop.scheduleTask(in: pause) { self.next() }
      return
    }
    if streams {
      exchange.end()
    } else if step.isError {
      exchange.fail(Refusal(status: 500, message: step.report["error"]?.string ?? ""))
    } else {
      exchange.answer(step.report)
    }
  }
}
