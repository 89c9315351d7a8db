import Gateway
import NIOCore
import PoolConfiguration
import PoolCore

/// Which models there are, and which one answers.
extension Chat {
  /// How old a list may be by which a model is shown, and one by which it is refused: it may just have been pulled.
  private static let shownFor = Duration.seconds(10)
  private static let refusedFor = Duration.seconds(1)
  /// How long anybody waits for a list that only says more.
  private static let patience = TimeAmount.seconds(1)

  /// The model of a question. It may take as long as an instance takes to start, where nobody has named one.
  func chooseModel(_ wanted: String?, _ done: @escaping (Result<String, ChatError>) -> Void) {
    if wanted == nil, let settled = settings.defaultModel { return done(.success(settled)) }
    let choice = models.last?.choice(wanted)
    if case .success(let model) = choice, wanted != nil || !pool.hasInstance { return done(.success(model)) }
    // Whether there is such a model turns out when its turn comes.
    if let wanted, !pool.hasInstance { return done(.success(wanted)) }
    models.list(gateway, at: pool.now, noOlderThan: wanted == nil ? Self.shownFor : Self.refusedFor) { listed in
      done(listed.flatMap { models in models.choice(wanted) })
    }
  }

  /// Tells which models there are, as far as that is known by now.
  func knownModels(_ done: @escaping ([InstalledModel]?) -> Void) {
    guard pool.hasInstance else { return done(models.last) }
    var waiting: (([InstalledModel]?) -> Void)? = done
    func tell() {
      waiting?(models.last)
      waiting = nil
    }
    let limit = loop.assumeIsolated().scheduleTask(in: Self.patience) { tell() }
    models.list(gateway, at: pool.now, noOlderThan: Self.shownFor) { _ in
      limit.cancel()
      tell()
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
