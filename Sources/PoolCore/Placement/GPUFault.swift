/// What the driver tells of a GPU as an event: an XID error, an ECC error.
package struct GPUFault: Hashable, Sendable, CustomStringConvertible {
  package enum Consequence: String, Hashable, Sendable, CaseIterable {
    /// A program on the GPU failed, and its process is suspect; the GPU is well.
    case application
    /// Worth telling, and nothing else.
    case warning
    /// The GPU computes nothing, or nothing to be trusted, until it is reset.
    case resetNeeded
  }

  /// As `XID 79 (the GPU has fallen off the bus)`.
  package var text: String
  package var consequence: Consequence

  package init(_ text: String, _ consequence: Consequence) {
    self.text = text
    self.consequence = consequence
  }

  package var description: String { text }
}
