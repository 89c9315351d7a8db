/// GPUs that NVIDIA's kernel module has taken and its library does not show: NVML counts GPUs when it is opened, and
/// one may have been plugged in since, or have had no device nodes yet.
struct PluggedGPUs {
  /// Until the next attempt: its device nodes may be made later, or by hand. What is not shown after the last never
  /// will be: a virtual function, or a GPU that a container withholds.
  private static let pauses: [Duration] = [.seconds(10), .seconds(60), .seconds(600)]

  /// At the last look; nil before the first.
  private var present: Set<PCIAddress>?
  private var awaited: Set<PCIAddress> = []
  private var attempts = 0
  private var nextAttempt: ContinuousClock.Instant?

  /// - Parameter reading: what the library shows. A GPU of which it tells nothing may have left its place to another.
  mutating func areWorthARecount(
    _ reading: (gpus: [GPU], problems: [InventoryProblem]), _ files: FileSystem, at now: ContinuousClock.Instant
  ) -> Bool {
    let taken = Set(files.names(in: "/sys/bus/pci/drivers/nvidia").compactMap { PCIAddress($0) })
    let isFirstLook = present == nil
    let new = taken.subtracting(present ?? [])
    present = taken
    if !new.isEmpty {
      awaited.formUnion(new)
      // At the first look the library has just been opened.
      attempts = isFirstLook ? 1 : 0
      nextAttempt = isFirstLook ? now + Self.pauses[0] : now
    }
    let silent = Set(reading.problems.filter { $0.kind > .partial }.compactMap(\.gpu))
    let shown = reading.gpus.filter { !silent.contains($0.uuid) }
      .compactMap { $0.pciAddress.flatMap { PCIAddress($0) } }
    awaited.formIntersection(taken)
    awaited.subtract(shown)
    guard !awaited.isEmpty, let due = nextAttempt, due <= now else { return false }
    nextAttempt = attempts < Self.pauses.count ? now + Self.pauses[attempts] : nil
    attempts += 1
    return true
  }
}
