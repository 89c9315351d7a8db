import Gateway
import NIOCore
import PoolConfiguration
import PoolCore

/// Which models there are, and which one answers.
extension Chat {
  /// How old a list may be by which a model is shown, and one by which it is refused: it may just have been pulled.
  private static let shownFor = Duration.seconds(10)
  private static let refusedFor = Duration.seconds(1)
  /// How long anybody waits for a list.
  private static let patience = TimeAmount.seconds(1)

  /// The model of a question, as far as it is known within a second; nil where it turns out only when its turn comes.
  func chooseModel(_ wanted: String?, _ done: @escaping (Result<String?, ChatError>) -> Void) {
    if wanted == nil, let settled = settings.defaultModel { return done(.success(settled)) }
    let known = models.last?.choice(wanted)
    if case .success(let model) = known, wanted != nil || !pool.hasInstance { return done(.success(model)) }
    guard pool.hasInstance else { return done(wanted == nil ? known?.map(\.self) ?? .success(nil) : .success(wanted)) }
    list(noOlderThan: wanted == nil ? Self.shownFor : Self.refusedFor) { listed in
      switch listed {
      case .success(let models): done(models.choice(wanted).map(\.self))
      case .failure, nil: done(.success(wanted ?? (try? known?.get())))
      }
    }
  }

  /// The model of a question whose turn has come.
  func settleModel(of question: Question, _ done: @escaping (Result<Void, ChatError>) -> Void) {
    if question.model != nil { return done(.success(())) }
    models.list(gateway, at: pool.now, noOlderThan: Self.shownFor) { listed in
      done(listed.flatMap { $0.choice(nil) }.map { question.model = $0 })
    }
  }

  /// Tells which models there are, as far as that is known by now.
  func knownModels(_ done: @escaping ([InstalledModel]?) -> Void) {
    guard pool.hasInstance else { return done(models.last) }
    list(noOlderThan: Self.shownFor) { [self] _ in done(models.last) }
  }

  /// The list; nil where no instance tells it in time.
  private func list(
    noOlderThan age: Duration, _ done: @escaping (Result<[InstalledModel], ChatError>?) -> Void
  ) {
    var wait: Int?
    let limit = loop.assumeIsolated().scheduleTask(in: Self.patience) { [models] in
      if let wait { models.forget(wait) }
      done(nil)
    }
    wait = models.list(gateway, at: pool.now, noOlderThan: age) { listed in
      limit.cancel()
      done(listed)
    }
  }

  /// What an instance means that answers a question with an error of its own.
  ///
  /// - Parameters:
  ///   - status: of its answer; 200 where that had begun well.
  ///   - words: its own.
  func explain(_ words: String, status: Int?, of model: String, _ done: @escaping (ChatError) -> Void) {
    switch status {
    case 400: knownModels { known in done(known?.problem(with: model) ?? .modelFailed(words)) }
    case 404:
      knownModels { known in done(known?.problem(with: model) ?? .modelNotFound(model, instead: known?.thatChat)) }
    default: done(.modelFailed(words))
    }
  }
}
