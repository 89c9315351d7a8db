/// The names of all keys, for whoever lists them.
package enum KnownKeys {
  /// Every path of the file, such as `scaling` and `scaling.min`.
  package static var paths: [String] { SettingsKeys.all.paths }
  /// The keys of an entry under `gpus`.
  package static var ofGPU: [String] { SettingsKeys.gpu.map(\.name) }
  /// The keys of an entry under `placements`.
  package static var ofPlacement: [String] { SettingsKeys.placement.map(\.name) }

  /// The top-level key that `wrong` was probably meant to be; nil where none is near.
  package static func nearest(to wrong: String) -> String? {
    NearestName.of(wrong, in: SettingsKeys.all.keys.map(\.name))
  }
}
