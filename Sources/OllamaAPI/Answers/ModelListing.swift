import PoolCore

/// What `/api/tags` answers: the models in the store.
package enum ModelListing {
  /// More models than these are not looked at.
  private static let mostModels = 10_000

  /// The keys of models that are computed here whatever their names say. An instance lists where else a model is
  /// computed: a copy called `mine-cloud` of a local one is local.
  ///
  /// - Returns: nil for what is no list.
  package static func hereDespiteTheirNames(_ body: [UInt8]) -> Set<String>? {
    body.withUnsafeBytes { bytes in
      ProcessList.list(bytes).map { entries in
        Set(entries.prefix(mostModels).compactMap { here(UnsafeRawBufferPointer(rebasing: bytes[$0])) })
      }
    }
  }

  private static func here(_ entry: UnsafeRawBufferPointer) -> String? {
    var name: String?
    var isRemote = false
    var scanner = JSONScanner(entry)
    let end = scanner.members { key, value in
      let (key, value) = (entry[key], entry[value])
      if JSONText.key(key, is: "name") {
        name = ProcessList.string(value) ?? name
      } else if JSONText.key(key, is: "model") {
        name = name ?? ProcessList.string(value)
      } else if JSONText.key(key, is: "remote_host") || JSONText.key(key, is: "remote_model") {
        isRemote = isRemote || ProcessList.string(value) != nil
      }
      return true
    }
    guard case .closed = end, let name, !isRemote, ModelName.isComputedElsewhere(name) else { return nil }
    return ModelName.key(of: name)
  }
}
