import Glibc
import NIOCore
import NIOPosix
import OllamaAPI

extension HostRule {
  /// The names and addresses that this machine has now.
  static var ofThisMachine: HostRule {
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    let hostname = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    let addresses = ((try? System.enumerateDevices()) ?? []).compactMap { $0.address?.ipAddress }
    return HostRule(hostname: hostname, localAddresses: addresses)
  }
}
