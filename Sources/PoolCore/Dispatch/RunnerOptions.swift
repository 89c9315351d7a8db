/// Options of a request for which Ollama loads a model anew where it was loaded with others.
///
/// `main_gpu` is not among them: every instance sees its own GPUs only, and clients send a zero.
package struct RunnerOptions: Hashable, Sendable {
  /// `num_ctx`, in tokens; nil for the model's or the instance's own.
  package var contextLength: Int?
  /// `num_batch`, in tokens.
  package var batchSize: Int?
  /// `num_gpu`: how many layers go to the GPU; nil for as many as fit, which is what a negative number means.
  package var gpuLayers: Int?
  /// `num_thread`; nil for as many as the instance likes, which is what zero means.
  package var threads: Int?
  /// `use_mmap`
  package var mapsFile: Bool?
  /// `use_mlock`
  package var locksMemory: Bool?

  package init(contextLength: Int? = nil) { self.contextLength = contextLength }

  private static let defaults = Shared(wrappedValue: RunnerOptions())
  /// Nearly all requests have the same.
  package var shared: Shared<RunnerOptions> { self == RunnerOptions() ? Self.defaults : Shared(wrappedValue: self) }

  /// Whether a model that was loaded with `others` has to be loaded anew for these, by all but the context's length.
  ///
  /// As in Ollama's scheduler: a request that leaves the layers to it takes them as they are.
  func differsBesidesContext(from others: RunnerOptions) -> Bool {
    (gpuLayers != nil && gpuLayers != others.gpuLayers) || batchSize != others.batchSize || threads != others.threads
      || mapsFile != others.mapsFile || locksMemory != others.locksMemory
  }
}

extension RunnerOptions: CustomStringConvertible {
  /// With Ollama's names: `num_ctx 8192, num_gpu 20`.
  package var description: String {
    let numbers = [
      ("num_ctx", contextLength), ("num_batch", batchSize), ("num_gpu", gpuLayers), ("num_thread", threads),
    ].compactMap { name, value in value.map { "\(name) \($0)" } }
    let switches = [("use_mmap", mapsFile), ("use_mlock", locksMemory)]
      .compactMap { name, value in value.map { "\(name) \($0)" } }
    let all = numbers + switches
    return all.isEmpty ? "the defaults" : all.joined(separator: ", ")
  }
}
