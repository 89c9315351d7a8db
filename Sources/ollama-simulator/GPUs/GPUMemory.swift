/// The memory of the simulated GPUs that a server sees, and what of it a model gets. Belongs to the event loop.
final class GPUMemory {
  /// Of which a model is taken to have so many, all of one size: what does not fit as a whole is divided by them.
  private static let layers = 32

  let folder: String
  private let uuids: [String]
  private var state: NVMLState
  private var version: FileVersion?

  /// - Parameters:
  ///   - folder: its real path.
  ///   - uuids: of the GPUs and slices that the server is pinned to.
  init(folder: String, uuids: [String], state: NVMLState) {
    self.folder = folder
    self.uuids = uuids
    self.state = state
  }

  /// The state as it is now. Costs a `stat` while the file stays as it is.
  private var now: NVMLState {
    let seen = FileVersion(NVMLState.path(in: folder))
    if seen != version || seen == nil {
      version = seen
      // A file that goes away takes the GPUs along.
      state = (try? NVMLState.read(in: folder)) ?? NVMLState(text: "")
    }
    return state
  }

  func isLost(_ gpus: [HeldMemory.Share]) -> Bool {
    let state = now
    return gpus.contains { state.isLost($0.uuid) }
  }

  /// Whether all of it fits; also where there is no GPU, for which it would have to.
  func hasRoom(for size: Int) -> Bool { uuids.isEmpty || shares(of: size).reduce(0) { $0 + $1.bytes } >= size }

  /// What a model of so many bytes gets: all of it on the GPU with the most room, or spread, or as many of its layers
  /// as there is room for. The rest is for the CPU.
  func shares(of size: Int) -> [HeldMemory.Share] {
    let state = now
    let held = HeldMemory.now(in: folder)
    let rooms = state.devices.filter { uuids.contains($0.uuid) && !state.isLost($0.uuid) }
      .map { (uuid: $0.uuid, room: Self.room(of: $0, held)) }
      .sorted { ($1.room, $0.uuid) < ($0.room, $1.uuid) }
    let most = min(size, rooms.reduce(0) { $0 + $1.room })
    let layer = max(1, size / Self.layers)
    var left = most == size ? size : most / layer * layer
    var shares: [HeldMemory.Share] = []
    for (uuid, room) in rooms where left > 0 && room > 0 {
      shares.append(HeldMemory.Share(uuid: uuid, bytes: min(left, room)))
      left -= min(left, room)
    }
    return shares
  }

  /// Bytes.
  func total(of uuid: String) -> Int? { now.devices.first { $0.uuid == uuid }?.total }

  /// Bytes that nobody uses.
  func room(of uuid: String) -> Int? {
    let held = HeldMemory.now(in: folder)
    return now.devices.first { $0.uuid == uuid }.map { Self.room(of: $0, held) }
  }

  private static func room(of device: NVMLState.Device, _ held: [String: Int]) -> Int {
    max(0, device.total - device.used - held[device.uuid, default: 0])
  }
}
