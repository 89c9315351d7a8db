/// Where a GPU sits. The order in which operators count their GPUs.
struct PCIAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
  var domain: UInt32
  var bus: UInt32
  var device: UInt32
  var function: UInt32

  init(domain: UInt32, bus: UInt32, device: UInt32, function: UInt32 = 0) {
    self.domain = domain
    self.bus = bus
    self.device = device
    self.function = function
  }

  /// `0000:41:00.0`, or without a domain `41:00.0`.
  init?(_ text: String) {
    var parts = text.split(separator: ":", omittingEmptySubsequences: false)
    if parts.count == 2 { parts.insert("0", at: 0) }
    guard parts.count == 3, let domain = UInt32(parts[0], radix: 16), let bus = UInt32(parts[1], radix: 16) else {
      return nil
    }
    let ends = parts[2].split(separator: ".", omittingEmptySubsequences: false)
    guard 1...2 ~= ends.count, let device = UInt32(ends[0], radix: 16),
      let function = ends.count == 2 ? UInt32(ends[1], radix: 16) : 0
    else { return nil }
    self.init(domain: domain, bus: bus, device: device, function: function)
  }

  static func < (left: PCIAddress, right: PCIAddress) -> Bool {
    (left.domain, left.bus, left.device, left.function) < (right.domain, right.bus, right.device, right.function)
  }

  var description: String {
    "\(Self.hex(domain, 4)):\(Self.hex(bus, 2)):\(Self.hex(device, 2)).\(String(function, radix: 16))"
  }

  private static func hex(_ number: UInt32, _ digits: Int) -> String {
    let text = String(number, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
  }
}

extension [GPU] {
  /// In the order of the PCI bus, and counted anew. GPUs without an address come last, slices after the GPU that they
  /// are of; else the given order stays.
  func inPCIOrder() -> [GPU] {
    let last = PCIAddress(domain: .max, bus: .max, device: .max, function: .max)
    let keyed = enumerated().map { (gpu: $1, address: $1.pciAddress.flatMap { PCIAddress($0) } ?? last, place: $0) }
    return keyed.sorted { ($0.address, $0.place) < ($1.address, $1.place) }.enumerated().map { index, entry in
      var gpu = entry.gpu
      gpu.index = index
      return gpu
    }
  }
}
