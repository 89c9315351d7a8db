/// Where a GPU sits. The order in which operators count their GPUs.
struct PCIAddress: Comparable, CustomStringConvertible {
  var domain: UInt32
  var bus: UInt32
  var device: UInt32

  init(domain: UInt32, bus: UInt32, device: UInt32) {
    self.domain = domain
    self.bus = bus
    self.device = device
  }

  /// `0000:41:00.0`.
  init?(_ text: String) {
    let parts = text.split(separator: ":")
    guard parts.count == 3, let domain = UInt32(parts[0], radix: 16), let bus = UInt32(parts[1], radix: 16),
      let device = parts[2].split(separator: ".").first.flatMap({ UInt32($0, radix: 16) })
    else { return nil }
    self.init(domain: domain, bus: bus, device: device)
  }

  static func < (left: PCIAddress, right: PCIAddress) -> Bool {
    (left.domain, left.bus, left.device) < (right.domain, right.bus, right.device)
  }

  var description: String { "\(Self.hex(domain, 4)):\(Self.hex(bus, 2)):\(Self.hex(device, 2)).0" }

  private static func hex(_ number: UInt32, _ digits: Int) -> String {
    let text = String(number, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
  }
}
