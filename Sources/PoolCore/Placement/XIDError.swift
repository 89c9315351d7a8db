/// An error that NVIDIA's driver reports of a GPU, by its number: an XID.
///
/// Source: "Xid Errors" and its "Xid Catalog", docs.nvidia.com/deploy/xid-errors; for numbers that the catalog no
/// longer lists, the older edition's table. The catalog names what to do at once, from which `consequence` follows.
package struct XIDError: Hashable, Sendable, CustomStringConvertible {
  package let code: Int
  /// As in `XID 79: GPU has fallen off the bus`.
  package let name: String
  /// What it means, and what to do.
  package let explanation: String
  /// By what the catalog says to do at once: RESTART_APP, IGNORE, or RESET_GPU, RESTART_BM and the like. But for two
  /// kinds: where a program has failed on a GPU that is well (43, 44, 66, 67, 141), IGNORE is about the GPU; and an
  /// error of a link (74) is told of by healthy GPUs, too, when the one at its other end fails.
  package let consequence: GPUFault.Consequence

  /// A number that is not known here counts as `application`: the instance on the GPU is suspect, and the GPU stays.
  /// Newer drivers bring new numbers, many of which only inform; were each taken for a broken GPU, an update of the
  /// driver could stop a whole pool. A GPU that is broken fails again, and is taken out for that.
  package init(code: Int) {
    self.code = code
    guard let entry = Self.catalog[code] else {
      name = "not in the pool's table"
      explanation = "see docs.nvidia.com/deploy/xid-errors for its meaning"
      consequence = .application
      return
    }
    name = entry.name
    explanation = entry.explanation
    consequence = entry.consequence
  }

  package var description: String { "XID \(code): \(name)" }

  /// Those that are known.
  package static var codes: [Int] { catalog.keys.sorted() }
}
