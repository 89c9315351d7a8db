import Gateway
import NIOCore
import OllamaAPI
import OrderedCollections
import PoolCore

/// A model under `preload` that is being loaded.
struct ModelLoad {
  let invocation: InvocationID
  let request: UpstreamRequest
}

extension DispatcherShell {
  /// Until an instance is asked again that this process had no connection for.
  private static let retryPause = TimeAmount.seconds(1)

  // MARK: Probes and preloads

  func probe(_ id: InstanceID, _ invocation: InvocationID) {
    guard let request = send(.liveness, to: id, within: core.limits.probeTimeout) else { return }
    request.answer.assumeIsolated().whenComplete { [self] result in
      if lacksConnection(result) { return later(id, invocation) { [self] in probe(id, invocation) } }
      let answered = (try? result.get())?.status == 200
      apply { core, now in core.probeEnded(id, invocation, answered ? .answered : .missed, at: now) }
    }
  }

  func load(_ model: String, on id: InstanceID, _ invocation: InvocationID) {
    load(model, on: id, invocation, by: .preload(model, contextLength: settledContextLength(of: model)))
  }

  private func settledContextLength(of model: String) -> Int? { core.limits.preloadOptions[model]?.contextLength }

  private func load(_ model: String, on id: InstanceID, _ invocation: InvocationID, by probe: Probe) {
    guard let request = send(probe, to: id, within: core.limits.firstByteLimit) else { return }
    loads[id] = ModelLoad(invocation: invocation, request: request)
    request.answer.assumeIsolated().whenComplete { [self] result in
      if loads[id]?.invocation == invocation { loads[id] = nil }
      if lacksConnection(result) {
        return later(id, invocation) { [self] in load(model, on: id, invocation, by: probe) }
      }
      switch result.map({ Probe.preloadResult(status: $0.status, body: $0.body) }) {
      case .success(.loaded): loadEnded(model, on: id, invocation, failure: nil)
      case .success(.doesNotGenerate) where probe.path != Probe.preloadEmbedding(model).path:
        let length = settledContextLength(of: model)
        load(model, on: id, invocation, by: .preloadEmbedding(model, contextLength: length))
      case .success(.doesNotGenerate):
        loadEnded(model, on: id, invocation, failure: "it neither generates nor embeds")
      case .success(.failed(let message)): loadEnded(model, on: id, invocation, failure: message)
      case .failure(let error): loadEnded(model, on: id, invocation, failure: "\(error)")
      }
    }
  }

  func askLoaded(_ id: InstanceID, _ invocation: InvocationID) {
    guard let request = send(.processList, to: id, within: core.limits.listTimeout) else { return }
    request.answer.assumeIsolated().whenComplete { [self] result in
      guard !isClosed else { return }
      _ = lacksConnection(result)
      let answer = (try? result.get()).flatMap { $0.status == 200 ? $0.body : nil }
      let models = answer.flatMap(ProcessList.models)
      apply { core, now in core.loadedListed(id, invocation, models, at: now) }
    }
  }

  private func loadEnded(_ model: String, on id: InstanceID, _ invocation: InvocationID, failure: String?) {
    apply { core, now in core.loadEnded(id, invocation, model: model, failure: failure, at: now) }
  }

  /// Whether it was this process that could not ask, which is no failure of the instance; the journal hears of it.
  func lacksConnection(_ result: Result<UpstreamAnswer, any Error>) -> Bool {
    guard case .failure(let error) = result, let error = error as? UpstreamRequestError, case .lacksConnection = error
    else { return false }
    tell(.connectionLacked(problem: error.description))
    return true
  }

  private func later(_ id: InstanceID, _ invocation: InvocationID, _ ask: @escaping () -> Void) {
    loop.assumeIsolated().scheduleTask(in: Self.retryPause) { [self] in
      if !isClosed, core.instances[id]?.wanted.invocation == invocation { ask() }
    }
  }

  /// nil if the instance is no longer there.
  private func send(_ probe: Probe, to id: InstanceID, within time: Duration) -> UpstreamRequest? {
    guard let address = addresses[id] else { return nil }
    return UpstreamRequest.send(
      probe.method, probe.path, body: probe.body, to: address, within: .nanoseconds(time.nanoseconds), on: loop)
  }

  // MARK: The merged process list

  /// Clients that ask while the instances are being asked share the answer, so that however many ask, each instance is
  /// asked once.
  func answerProcessList(_ exchange: Exchange) {
    processListClients.append(exchange)
    guard processListClients.count == 1 else { return }
    let answers = core.instances.values.filter { $0.health == .healthy }.compactMap { addresses[$0.wanted.id] }
      .map { address in
        UpstreamRequest.send(
          Probe.processList.method, Probe.processList.path, to: address,
          within: .nanoseconds(core.limits.listTimeout.nanoseconds), on: loop
        ).answer
      }
    EventLoopFuture.whenAllComplete(answers, on: loop).assumeIsolated().whenSuccess { [self] results in
      let bodies = results.compactMap { try? $0.get() }.filter { $0.status == 200 }.map(\.body)
      let merged = ProcessList.merge(bodies)
      let clients = processListClients
      processListClients = []
      for client in clients {
        client.respond(status: 200, headers: [("Content-Type", "application/json; charset=utf-8")], body: merged)
      }
    }
  }
}
