import ControlInterface
import Glibc
import NIOCore
import PoolCore
import Varlink

extension WantedSet {
  static let slots = 1...1024
  static let maximumGPUs = 64
  /// Of one instance.
  static let maximumModels = 256
  static let longestText = 1024
  /// It names the store's path, of up to 4095 bytes, several times.
  static let longestRefusal = 16 << 10

  /// Checks what `SetInstances` brings. Whoever may call it is trusted; a mistake must still not get far.
  ///
  /// - Throws: `InvalidParameter` with the path of the first field that can't be.
  init(checking order: DispatcherCalls.SetInstances) throws(VarlinkErrorReply) {
    let models = order.models ?? []
    try Self.require(
      models.count <= Self.maximumModels * Placement.most && models.allSatisfy(Self.isText), "models")
    try Self.require(order.storeRefusal.map { Self.isText($0, longest: Self.longestRefusal) } ?? true, "storeRefusal")
    let awaiting = order.awaitingTurn ?? []
    try Self.require(awaiting.count <= Self.maximumModels && awaiting.allSatisfy(Self.isText), "awaitingTurn")
    self.init(
      try Self.checked(order.instances), models: order.models.map { Set($0.map(ModelName.key)) },
      storeRefusal: order.storeRefusal, awaitingTurn: Set(awaiting.map(ModelName.key)))
  }

  private static func checked(_ instances: [DispatcherTypes.Instance]) throws(VarlinkErrorReply) -> [WantedInstance] {
    guard instances.count <= Placement.most else { throw .invalidParameter("instances") }
    var ids: Set<String> = []
    var addresses: Set<SocketAddress> = []
    var wanted: [WantedInstance] = []
    var hasWriter = false
    for (index, instance) in instances.enumerated() {
      let path = "instances[\(index)]"
      try require(InstanceID(validating: instance.id) != nil && ids.insert(instance.id).inserted, "\(path).id")
      try require(isInvocation(instance.invocation), "\(path).invocation")
      guard let address = InstanceAddress.parse(instance.address), addresses.insert(address).inserted else {
        throw .invalidParameter("\(path).address")
      }
      try require(slots.contains(instance.slots), "\(path).slots")
      try require(instance.gpus.count <= maximumGPUs && instance.gpus.allSatisfy(isText), "\(path).gpus")
      try require(instance.models.count <= maximumModels && instance.models.allSatisfy(isText), "\(path).models")
      try require(instance.reason.utf8.count <= longestText, "\(path).reason")
      try require(instance.writesStore != true || !hasWriter, "\(path).writesStore")
      hasWriter = hasWriter || instance.writesStore == true
      var want = WantedInstance(instance)
      want.models = want.models.map(ModelName.key)
      wanted.append(want)
    }
    return wanted
  }

  private static func require(_ condition: Bool, _ path: String) throws(VarlinkErrorReply) {
    if !condition { throw .invalidParameter(path) }
  }

  /// 1 to 64 printable characters of ASCII.
  static func isInvocation(_ text: String) -> Bool {
    (1...64).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
  }

  private static func isText(_ text: String) -> Bool { isText(text, longest: longestText) }

  private static func isText(_ text: String, longest: Int) -> Bool { (1...longest).contains(text.utf8.count) }
}

/// `127.0.0.1:11500`: where an instance listens, always on this machine.
enum InstanceAddress {
  /// nil for what is no IP address of loopback with a port.
  static func parse(_ text: String) -> SocketAddress? {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
      return nil
    }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    guard host.hasPrefix("127.") || host == "::1" else { return nil }
    return try? SocketAddress(ipAddress: String(host), port: Int(port))
  }
}
