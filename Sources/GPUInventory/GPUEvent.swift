/// What a driver reports of a GPU at the moment it happens.
package struct GPUEvent: Sendable, Hashable {
  package enum Kind: Sendable, Hashable {
    /// NVIDIA's number of the error: `XIDError` in PoolCore explains it.
    case xid(Int)
    /// Memory that could not be corrected. An XID (48, or 94 and 95) tells of the same error.
    case doubleBitECC
  }

  /// Of the MIG slice where the driver says which one it was, else of the GPU: then it concerns all of its slices.
  package var uuid: String
  package var kind: Kind

  package init(uuid: String, kind: Kind) {
    self.uuid = uuid
    self.kind = kind
  }
}
