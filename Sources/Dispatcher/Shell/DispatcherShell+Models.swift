import Gateway
import NIOCore
import OllamaAPI
import OrderedCollections
import PoolCore

/// Where models are computed: a name says so, and what an instance lists may say otherwise.
struct ModelPlaces {
  /// Keys of models that are computed here, whatever their names say.
  private var here: Set<String> = []
  private var listedAt: Instant?
  /// How often models were changed, and how often they had been when the last list was asked for.
  private var (changes, listedChanges) = (0, 0)
  /// The same for the list that is being asked for.
  private var askedChanges: Int?

  /// Models were changed since the last list: any of them may be here.
  private var isOutdated: Bool { changes != listedChanges }

  /// What inference with a model needs. What is computed elsewhere takes no GPU.
  func need(of model: String?) -> DispatchRequest.Need {
    guard let model, ModelName.isComputedElsewhere(model) else { return .slot }
    return isOutdated || here.contains(ModelName.key(of: model)) ? .slot : .remoteInference
  }

  mutating func changed() { changes += 1 }

  /// - Returns: whether a list is to be asked for now: the last one is older than `age`, and none is on its way.
  mutating func asks(noOlderThan age: Duration, at now: Instant) -> Bool {
    guard askedChanges == nil, isOutdated || listedAt.map({ now - $0 >= age }) ?? true else { return false }
    askedChanges = changes
    return true
  }

  /// - Parameter here: nil where there was no answer.
  mutating func listed(_ here: Set<String>?, at now: Instant) {
    if let here, let askedChanges { (self.here, listedAt, listedChanges) = (here, now, askedChanges) }
    askedChanges = nil
  }
}

extension DispatcherShell {
  /// How old a list may be by which a model is said to be elsewhere; after it another one is asked for.
  private static let listedFor = Duration.seconds(10)
  /// A longer list is none, in bytes.
  private static let longestList = 16 << 20

  /// What inference with this model needs, by what is known now.
  func need(of model: String?) -> DispatchRequest.Need {
    if let model, ModelName.isComputedElsewhere(model) { listModels() }
    return modelPlaces.need(of: model)
  }

  /// Somebody has pulled, made, copied or deleted models, or has tried to.
  func modelsChanged() {
    modelPlaces.changed()
    listModels()
  }

  /// Asks an instance which models there are, where that is not known.
  func listModels() {
    guard !isClosed, let instance = core.instances.values.first(where: \.isInRotation),
      let address = addresses[instance.wanted.id],
      modelPlaces.asks(noOlderThan: Self.listedFor, at: .now)
    else { return }
    let request = UpstreamRequest.send(
      Probe.modelListing.method, Probe.modelListing.path, to: address,
      within: .nanoseconds(core.limits.listTimeout.nanoseconds), bodyLimit: Self.longestList, on: loop)
    request.answer.assumeIsolated().whenComplete { [self] result in
      let answer = (try? result.get()).flatMap { $0.status == 200 ? $0.body : nil }
      let here = answer.flatMap(ModelListing.hereDespiteTheirNames)
      modelPlaces.listed(here, at: .now)
      // They may have changed meanwhile.
      if here != nil { listModels() }
    }
  }
}
