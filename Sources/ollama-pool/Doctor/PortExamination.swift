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
  static func read(_ listen: [ListenAddress], own: [String], instances: [String], first: UInt16) async -> [Port] {
    var ports: [Port] = []
    for address in listen {
      ports.append(Port(address: address, state: own.contains("\(address)") ? .own : await state(of: address)))
    }
    for (index, name) in instances.enumerated() {
      guard let port = UInt16(exactly: Int(first) + index) else { continue }
      let address = ListenAddress.loopback(port: port)
      ports.append(Port(address: address, instance: name, state: await state(of: address)))
    }
    return ports
  }

  private static func state(of address: ListenAddress) async -> Port.State {
    switch Binding.attempt(address) {
    case .free: return .free
    case .failed(let code): return .failed(code)
    case .taken:
      let holder = PortHolder.find(port: address.port)
      guard let process = holder?.processID else { return .taken(holder) }
      return await SeenProcess.look(at: process)?.isPools == true ? .own : .taken(holder)
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
