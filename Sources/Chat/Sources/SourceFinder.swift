import Gateway
import NIOCore
import OllamaAPI
import PoolConfiguration
import PoolCore
import Retrieval

/// Finds passages for a question: in the index that `ollama-pool index` wrote, or by the operator's service. On the
/// loop.
final class SourceFinder {
  /// What of a question is looked for, in Unicode scalars.
  private static let questionLength = 4_000
  /// The part of the time that its embedding may take; with the rest its words can still be looked for.
  private static let partForEmbedding = 0.8
  /// Of an embedding model's answer, in bytes: 4,096 numbers of 32 digits.
  private static let embeddingLimit = 128 << 10

  private let gateway: Gateway
  private let report: (String) -> Void
  private var settings: SourcesSettings
  private var index: DocumentIndex?
  /// The model of an index that was told to be another one's than the configuration's.
  private var toldModel: String?

  init(gateway: Gateway, settings: SourcesSettings, report: @escaping (String) -> Void) {
    self.gateway = gateway
    self.settings = settings
    self.report = report
    index = settings.index.map { DocumentIndex($0, on: gateway.loop) }
  }

  func adopt(_ settings: SourcesSettings) {
    if settings.index != index?.path { index = settings.index.map { DocumentIndex($0, on: gateway.loop) } }
    self.settings = settings
  }

  var isConfigured: Bool { index != nil || settings.service != nil }

  /// Calls `done` within the configured time, in whatever state things are, unless it is cancelled before.
  ///
  /// - Parameter address: of an instance that has a slot for the question now.
  func find(
    _ question: String, session: String, at address: SocketAddress, _ done: @escaping ([FoundPassage]) -> Void
  ) -> SourceSearch {
    let question = PlainText.prefix(question, Self.questionLength)
    let search = SourceSearch(within: settings.timeout, on: gateway.loop, report: report, done)
    if let service = settings.service {
      ask(service, question, session: session, search)
    } else if let index {
      look(in: index, question, at: address, search)
    } else {
      search.end(with: [])
    }
    return search
  }

  // MARK: The index

  private func look(in index: DocumentIndex, _ question: String, at address: SocketAddress, _ search: SourceSearch) {
    index.model().assumeIsolated().whenComplete { [self] opened in
      guard search.isOpen else { return }
      switch opened {
      case .failure(let error): search.fail("\(error)")
      case .success(let model):
        note(model)
        embed(question, model, at: address, search) { [self] vector in
          rank(in: index, question, vector, search)
        }
      }
    }
  }

  private func embed(
    _ question: String, _ model: EmbeddingModel, at address: SocketAddress, _ search: SourceSearch,
    _ done: @escaping (Vector?) -> Void
  ) {
    let request = gateway.sendAside(
      "/api/embed", body: model.request(question: question), model: model.name, to: address,
      within: .nanoseconds(Int64(Double(settings.timeout.nanoseconds) * Self.partForEmbedding)),
      bodyLimit: Self.embeddingLimit)
    search.request = request
    request.answer.assumeIsolated().whenComplete { [self] answered in
      guard search.isOpen else { return }
      search.request = nil
      do {
        let answer = try answered.get()
        guard answer.status == 200 else { throw SourceProblem(answer) }
        done(try model.vectors(answer.body, count: 1).first)
      } catch {
        report("no embedding by \(model.name), so the documents are searched by words alone: \(error)")
        done(nil)
      }
    }
  }

  private func rank(in index: DocumentIndex, _ question: String, _ vector: Vector?, _ search: SourceSearch) {
    let request = SearchRequest(
      question: question, vector: vector, limit: settings.passages, leastScore: settings.leastScore,
      deadline: search.deadline)
    index.search(request).assumeIsolated().whenComplete { [self] found in
      switch found {
      case .success(let passages): search.end(with: passages)
      case .failure(let error as RetrievalError) where error.code == .badEmbedding && search.isOpen:
        report("the documents are searched by words alone: \(error)")
        rank(in: index, question, nil, search)
      case .failure(let error): search.fail("\(error)")
      }
    }
  }

  private func note(_ model: EmbeddingModel) {
    let isTold = toldModel == model.name
    let differs = ModelName.key(of: model.name) != ModelName.key(of: settings.model)
    toldModel = differs ? model.name : nil
    guard differs, !isTold else { return }
    report(
      "the index is of the model \(model.name), not of sources.model, \(settings.model): it stays in use until "
        + "`ollama-pool index` has run again")
  }

  // MARK: The service

  private func ask(_ service: ServiceAddress, _ question: String, session: String, _ search: SourceSearch) {
    let request = UpstreamRequest.send(
      "POST", service.path, body: SourceService.request(question, limit: settings.passages, session: session),
      to: .host(service.host, port: service.port), within: .nanoseconds(settings.timeout.nanoseconds),
      bodyLimit: SourceService.answerLimit, on: gateway.loop)
    search.request = request
    let found = request.answer.flatMap { [limit = settings.passages, loop = gateway.loop] answer in
      answer.status == 200
        ? SourceService.passages(answer.body, limit: limit, on: loop)
        : loop.makeFailedFuture(SourceProblem(answer))
    }
    found.assumeIsolated().whenComplete { [settings] found in
      search.request = nil
      switch found {
      case .success(let passages): search.end(with: passages.filter { $0.score >= settings.leastScore })
      case .failure(let error): search.fail("\(service): \(error)")
      }
    }
  }
}
