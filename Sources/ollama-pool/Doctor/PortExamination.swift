import Dispatcher
import Launching
import PoolConfiguration
import Systemd

/// The ports that the pool and its instances listen on.
enum PortExamination {
  private static let check = "port"

  struct Port: Equatable, Sendable {
    enum State: Equatable, Sendable {
      /// One of the running pool's.
      case own
      case free
      case taken(PortHolder?)
      /// errno
      case failed(Int32)
    }

    var address: ListenAddress
    /// The instance that tries it first; nil for a port of the pool itself.
    var instance: String?
    var state: State
  }

  /// - Parameters:
  ///   - own: addresses of the running pool.
  ///   - instances: names, in the order of their ports.
  static func read(_ listen: [ListenAddress], own: [String], instances: [String], first: UInt16) -> [Port] {
    let pool = listen.map { Port(address: $0, state: own.contains("\($0)") ? .own : state(of: $0)) }
    return pool
      + instances.enumerated().compactMap { index, name in
        guard let port = UInt16(exactly: Int(first) + index) else { return nil }
        let address = ListenAddress.loopback(port: port)
        return Port(address: address, instance: name, state: state(of: address))
      }
  }

  private static func state(of address: ListenAddress) -> Port.State {
    switch Binding.attempt(address) {
    case .free: return .free
    case .failed(let code): return .failed(code)
    case .taken:
      let holder = PortHolder.find(port: address.port)
      let isPools = (holder?.processID).flatMap { SeenProcess($0) }?.isPools ?? false
      return isPools ? .own : .taken(holder)
    }
  }

  static func findings(_ ports: [Port]) -> [Finding] {
    ports.compactMap { port in port.instance.map { finding(port, of: $0) } ?? finding(port) }
  }

  private static func finding(_ port: Port) -> Finding {
    switch port.state {
    case .own: return .ok(check, "\(port.address) is the pool's")
    case .free: return .ok(check, "\(port.address) is free")
    case .taken(let holder):
      if holder?.processID == 1 { return .ok(check, "\(port.address) is held open by systemd") }
      return .problem(
        check, "\(port.address) is held by \(holder?.description ?? "another process")",
        remedy: "\(PortHolder.remedy(against: holder)), or configure another address")
    case .failed(let code):
      return .problem(
        check, "\(port.address) can't be had: \(describe(errno: code))", remedy: "configure another address")
    }
  }

  /// An instance that does not get its port tries others. Whose a port is that nobody can be named for is not known: it
  /// may be the pool's.
  private static func finding(_ port: Port, of instance: String) -> Finding? {
    guard case .taken(let holder?) = port.state, holder.processID != nil else { return nil }
    return .warning(
      check, "\(port.address), which \(instance) tries first, is held by \(holder)",
      remedy: "\(PortHolder.remedy(against: holder)), or set `instance_ports` to ports that are free")
  }

  /// What others hold.
  static func held(_ ports: [Port]) -> [SharingExamination.HeldPort] {
    ports.compactMap { port in
      guard case .taken(let holder?) = port.state else { return nil }
      return SharingExamination.HeldPort(
        address: "\(port.address)", process: holder.processID, owner: holder.owner)
    }
  }
}
