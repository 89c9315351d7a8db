import CSystemd
import Glibc
import Synchronization

/// A listening socket that systemd opened and passed on, by the name that its .socket unit gives it.
package struct ListenSocket: Equatable, Sendable {
  package enum Kind: Equatable, Sendable {
    /// A Unix stream socket. The path is nil for one without a name or in the abstract name space.
    case unix(path: String?)
    /// A TCP socket, with its address in the usual notation, without brackets.
    case tcp(address: String, port: Int, isLoopback: Bool)
    /// Anything that no daemon of this project listens on: a datagram socket, a pipe, a connected socket…
    case other
  }

  package let descriptor: Int32
  /// FileDescriptorName= of the .socket unit.
  package let name: String
  package let kind: Kind

  init(descriptor: Int32, name: String) {
    self.descriptor = descriptor
    self.name = name
    kind = Kind(of: descriptor)
  }
}

package enum ListenSockets {
  private static let taken = Mutex(false)

  /// The sockets that were passed to this process, in the order of the .socket units. The first call gets them, later
  /// ones nothing. It changes the environment: to be called before there are other threads.
  package static func take() -> [ListenSocket] {
    let isFirst = taken.withLock { taken in
      defer { taken = true }
      return !taken
    }
    guard isFirst else { return [] }
    var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
    let count = sd_listen_fds_with_names(1, &names)
    guard count > 0, let names else { return [] }
    defer { free(names) }
    return (0..<count).map { index in
      let name = names[Int(index)]
      defer { free(name) }
      return ListenSocket(
        descriptor: SD_LISTEN_FDS_START + index, name: name.map { String(cString: $0) } ?? "")
    }
  }
}

extension ListenSocket.Kind {
  init(of descriptor: Int32) {
    guard sd_is_socket(descriptor, AF_UNSPEC, Int32(SOCK_STREAM.rawValue), 1) > 0 else {
      self = .other
      return
    }
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutableBytes(of: &storage) {
      getsockname(descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress!, &length)
    }
    guard result == 0 else {
      self = .other
      return
    }
    let family = Int32(storage.ss_family)
    self = withUnsafeBytes(of: &storage) { Self(family: family, $0.prefix(Int(length))) }
  }

  private init(family: Int32, _ address: Slice<UnsafeRawBufferPointer>) {
    let address = UnsafeRawBufferPointer(rebasing: address)
    switch family {
    case AF_UNIX:
      let path = address.dropFirst(MemoryLayout<sa_family_t>.size).prefix { $0 != 0 }
      self = .unix(path: path.isEmpty ? nil : String(decoding: path, as: UTF8.self))
    case AF_INET:
      let inet = address.loadUnaligned(as: sockaddr_in.self)
      let bytes = withUnsafeBytes(of: inet.sin_addr) { Array($0) }
      self = .tcp(
        address: Self.text(family, bytes), port: Int(UInt16(bigEndian: inet.sin_port)),
        isLoopback: bytes[0] == 127)
    case AF_INET6:
      let inet = address.loadUnaligned(as: sockaddr_in6.self)
      let bytes = withUnsafeBytes(of: inet.sin6_addr) { Array($0) }
      let isMappedLoopback = bytes.starts(with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127])
      self = .tcp(
        address: Self.text(family, bytes), port: Int(UInt16(bigEndian: inet.sin6_port)),
        isLoopback: isMappedLoopback || bytes == Array(repeating: 0, count: 15) + [1])
    default:
      self = .other
    }
  }

  private static func text(_ family: Int32, _ bytes: [UInt8]) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
      guard let start = buffer.baseAddress,
        inet_ntop(family, bytes, start, socklen_t(buffer.count)) != nil
      else { return "" }
      return String(cString: start)
    }
  }
}
