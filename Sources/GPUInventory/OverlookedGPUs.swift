/// Devices that NVIDIA's kernel module has and its library does not show. One may be a GPU that was plugged in since
/// the library was opened. Others stay so: a GPU that the module or a container withholds, or a virtual function.
struct OverlookedGPUs {
  /// A GPU that has just come may not be ready at once.
  private static let mostRecounts = 3

  private var devices: Set<PCIAddress> = []
  private var recounts = 0

  /// - Parameter gpus: all that the library shows.
  mutating func areWorthARecount(_ gpus: [GPU], _ files: FileSystem) -> Bool {
    let bound = Set(files.names(in: "/sys/bus/pci/drivers/nvidia").compactMap { PCIAddress($0) })
    let overlooked = bound.subtracting(gpus.compactMap { $0.pciAddress.flatMap { PCIAddress($0) } })
    if overlooked != devices { (devices, recounts) = (overlooked, 0) }
    guard !overlooked.isEmpty, recounts < Self.mostRecounts else { return false }
    recounts += 1
    return true
  }
}
