import NIOCore
import OllamaAPI

/// Requests that need a slot.
enum Inference {
  static func serve(_ exchange: Exchange, _ endpoint: InferenceEndpoint, _ server: Server) {
    do throws(Refusal) {
      if endpoint == .transcriptions { throw .badRequest("the simulator's models do not support transcription") }
      let request = try InferenceRequest(try RequestBody.json(exchange), endpoint)
      guard let model = server.store.find(request.model) else { throw .modelNotFound(request.model) }
      let embeds = endpoint == .embed || endpoint == .embeddings || endpoint == .openAIEmbeddings
      if !embeds && !model.canGenerate {
        throw .badRequest("\"\(request.model)\" does not support \(endpoint == .generate ? "generate" : "chat")")
      }
      if !request.tools.isEmpty && !model.capabilities.contains("tools") {
        throw .badRequest("registry.ollama.ai/library/\(model.name) does not support tools")
      }
      let format = AnswerFormats.make(endpoint, model: request.model, includesUsage: request.includesUsage)
      if request.isEmpty, request.keepAlive == .seconds(0) {
        server.scheduler.unload(model)
        exchange.answer(status: 200, contentType: "application/json; charset=utf-8", format.loaded("unload"))
        return
      }
      let work = Work(exchange, request, endpoint, format, server)
      work.start(
        Scheduler.Demand(
          model: model, contextLength: request.contextLength ?? server.settings.contextLength,
          keepAlive: request.keepAlive))
    } catch {
      exchange.fail(error)
    }
  }
}

/// One request on its way through the scheduler: waits for its slot, then does what was asked.
final class Work {
  let exchange: Exchange
  let request: InferenceRequest
  let endpoint: InferenceEndpoint
  let format: any AnswerFormat
  let server: Server
  private let arrivedAt = NIODeadline.now()
  private var visit: Visit?
  private var generation: Generation?

  init(
    _ exchange: Exchange, _ request: InferenceRequest, _ endpoint: InferenceEndpoint, _ format: any AnswerFormat,
    _ server: Server
  ) {
    self.exchange = exchange
    self.request = request
    self.endpoint = endpoint
    self.format = format
    self.server = server
  }

  func start(_ demand: Scheduler.Demand) {
    let visit = Visit(
      onStart: { self.started($0) },
      onFailure: { refusal in
        if let generation = self.generation { generation.fail(refusal) } else { self.exchange.fail(refusal) }
        self.finish()
      })
    self.visit = visit
    exchange.onGone = { [server] in
      self.generation?.stop()
      server.scheduler.cancel(visit)
      self.finish()
    }
    server.scheduler.request(demand, for: visit)
  }

  private func started(_ host: LoadedModel) {
    switch endpoint {
    case .embed, .embeddings, .openAIEmbeddings:
      let seconds = server.settings.behaviour.secondsToFirstToken(promptTokens: request.promptTokens)
      server.eventLoop.scheduleTask(in: .nanoseconds(Int64(seconds * 1e9))) { [weak self] in self?.embed(host) }
    default:
      if request.isEmpty {
        exchange.answer(status: 200, contentType: "application/json; charset=utf-8", format.loaded("load"))
        finish()
        return
      }
      let generation = Generation(self, host, loadNanoseconds: host.loadedNanoseconds, arrivedAt: arrivedAt)
      self.generation = generation
      generation.start()
    }
  }

  private func embed(_ host: LoadedModel) {
    guard visit != nil else { return }
    let nanoseconds = Int((NIODeadline.now() - arrivedAt).nanoseconds)
    exchange.answer(
      EmbeddingFormat.answer(request, endpoint, nanoseconds: nanoseconds, loadNanoseconds: host.loadedNanoseconds))
    finish()
  }

  /// Gives the slot back. Nothing more comes of this request.
  func finish() {
    visit?.leave()
    visit = nil
    generation = nil
    exchange.onGone = nil
  }
}
