/// What the kernel shows of the GPUs' drivers, whether or not their libraries answer.
package struct KernelDrivers: Equatable, Sendable {
  /// Of NVIDIA's module: its version, such as `550.54.15`, empty where it doesn't tell; nil: it is not loaded.
  package var nvidia: String?
  /// The same of AMD's; one that comes with the kernel tells none.
  package var amdgpu: String?
  /// Whether AMD's driver lets programs compute, which is what `/dev/kfd` is for.
  package var hasKFD = false
  /// Whether the free driver for NVIDIA's GPUs is loaded, on which CUDA does not run.
  package var hasNouveau = false
  /// Whether nvidia-persistenced runs, which keeps the driver ready while nothing uses it.
  package var hasPersistenceDaemon = false
  /// PCI addresses of graphics and computing devices, as sysfs writes them; without those that have another driver,
  /// such as `radeon`, or `vfio-pci` for a virtual machine.
  package var nvidiaDevices: [String] = []
  package var amdDevices: [String] = []

  package init() {}

  /// - Parameter root: the folder that stands for `/`.
  package static func read(root: String = "/") -> KernelDrivers { KernelDrivers(FileSystem(root: root)) }

  init(_ files: FileSystem) {
    if files.exists("/proc/driver/nvidia/version") || files.exists("/sys/module/nvidia") {
      nvidia = files.text(of: "/sys/module/nvidia/version") ?? Self.version(files) ?? ""
    }
    if files.exists("/sys/module/amdgpu") { amdgpu = files.text(of: "/sys/module/amdgpu/version") ?? "" }
    hasKFD = files.exists("/sys/class/kfd/kfd")
    hasNouveau = files.exists("/sys/module/nouveau")
    hasPersistenceDaemon = files.exists("/run/nvidia-persistenced/socket")
    let devices = "/sys/bus/pci/devices"
    for address in files.names(in: devices) where Self.computes(files.text(of: "\(devices)/\(address)/class")) {
      let driver = files.realPath(of: "\(devices)/\(address)/driver")?.split(separator: "/").last
      switch (files.text(of: "\(devices)/\(address)/vendor"), driver) {
      case ("0x10de", nil), ("0x10de", "nvidia"), ("0x10de", "nouveau"): nvidiaDevices.append(address)
      case ("0x1002", nil), ("0x1002", "amdgpu"): amdDevices.append(address)
      default: break
      }
    }
  }

  /// Display controllers (03), and processing accelerators (12): pci.ids.
  private static func computes(_ code: String?) -> Bool {
    code.map { $0.hasPrefix("0x03") || $0.hasPrefix("0x12") } ?? false
  }

  /// Of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024".
  private static func version(_ files: FileSystem) -> String? {
    guard let line = files.text(of: "/proc/driver/nvidia/version")?.split(separator: "\n").first else { return nil }
    return line.firstMatch(of: /\s(\d+(?:\.\d+)+)\s/).map { String($0.1) }
  }
}
