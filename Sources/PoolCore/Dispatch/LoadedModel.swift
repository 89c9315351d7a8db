/// A model that an instance holds in memory, as the instance itself tells.
package struct LoadedModel: Hashable, Sendable {
  /// Its normalised name.
  package var name: String
  /// Bytes that it takes, wherever they are.
  package var size: Int
  /// Bytes of these in GPU memory: fewer than all of them means that it computes on the CPU in part.
  package var sizeOnGPU: Int
  /// Tokens; nil where the instance does not say.
  package var contextLength: Int?

  package init(name: String, size: Int, sizeOnGPU: Int, contextLength: Int? = nil) {
    self.name = name
    self.size = size
    self.sizeOnGPU = sizeOnGPU
    self.contextLength = contextLength
  }
}
