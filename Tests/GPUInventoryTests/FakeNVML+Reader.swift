import TestSupport

@testable import GPUInventory

extension FakeNVML {
  /// Sees no kernel driver and no sysfs, whatever machine runs the tests.
  func reader(kernelDriver: String = "/nonexistent", root: String = "/nonexistent") -> InventoryReader {
    InventoryReader(nvmlLibrary: library, kernelDriver: kernelDriver, root: root)
  }

  /// Four GPUs, which NVML counts in another order than the PCI bus.
  static let four = """
    gpu uuid=GPU-c name=Fake_H100 bus=00000000:81:00.0 minor=2 total=85899345920 used=3 util=30 temp=63
    gpu uuid=GPU-a name=Fake_H100 bus=00000000:01:00.0 minor=0 total=85899345920 used=1 util=10 temp=61
    gpu uuid=GPU-d name=Fake_H100 bus=00000001:01:00.0 minor=3 total=85899345920 used=4 util=40 temp=64
    gpu uuid=GPU-b name=Fake_H100 bus=00000000:41:00.0 minor=1 total=85899345920 used=2 util=20 temp=62

    """
}
