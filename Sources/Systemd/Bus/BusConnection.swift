import CSystemd
import Dispatch
import Glibc

/// Which message bus, and with it whose systemd.
package enum Bus: Sendable {
  /// The system's: units of the system manager, for uid 0.
  case system
  /// The caller's own: units of the user manager, without privilege.
  case user
}

/// One method call.
struct BusRequest: Equatable, Sendable {
  var path: String
  var interface: String
  var member: String
  var arguments: [BusValue]
  /// For errors: the method and the unit it is about.
  var operation: String
}

/// What came over the bus, in the order in which it came. The bus daemon vouches for the sender's unique name.
enum BusEvent {
  case reply(id: UInt64, sender: String, Result<[BusValue], SystemdError>)
  case signal(member: String, path: String, sender: String, arguments: [BusValue])
}

/// One connection to a bus daemon, from opening to loss: the only place that touches an `sd_bus`.
///
/// Belongs to one serial queue. The callbacks of sd-bus only put events into a list, and the owner takes them out
/// when ``process(_:)`` returns to it, so nothing is ever called back in the middle of something else.
final class BusConnection {
  private let bus: OpaquePointer
  private let inbox = Inbox()
  private let queue: DispatchQueue
  private let wake: @Sendable () -> Void
  private let readSource: any DispatchSourceRead
  private var writeSource: (any DispatchSourceWrite)?
  private let timer: any DispatchSourceTimer

  fileprivate final class Inbox {
    var events: [BusEvent] = []
    var unitPathPrefixes: [String] = []
  }

  /// Opens a connection. It is usable at once: sd-bus queues what is sent until the daemon has said hello.
  /// - Parameter wake: called on `queue` when ``process(_:)`` has something to do.
  init(to target: Bus, queue: DispatchQueue, wake: @escaping @Sendable () -> Void) throws(SystemdError) {
    let operation = target == .system ? "connecting to the system bus" : "connecting to the user bus"
    var opened: OpaquePointer?
    let result = target == .system ? sd_bus_open_system(&opened) : sd_bus_open_user(&opened)
    guard result >= 0, let opened else { throw SystemdError(errno: result, operation: operation) }
    let descriptor = Self.duplicate(sd_bus_get_fd(opened))
    guard descriptor >= 0 else {
      sd_bus_close_unref(opened)
      throw SystemdError(errno: -errno, operation: operation)
    }
    bus = opened
    self.queue = queue
    self.wake = wake
    readSource = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
    readSource.setEventHandler(handler: wake)
    readSource.setCancelHandler { @Sendable in close(descriptor) }
    timer = DispatchSource.makeTimerSource(queue: queue)
    timer.setEventHandler(handler: wake)
    timer.schedule(deadline: .distantFuture)
    readSource.activate()
    timer.activate()
  }

  deinit {
    readSource.cancel()
    writeSource?.cancel()
    timer.cancel()
    sd_bus_close_unref(bus)
  }

  /// A source must not outlive its descriptor, and the bus closes its own whenever it likes: each gets a copy.
  private static func duplicate(_ descriptor: Int32) -> Int32 {
    descriptor < 0 ? descriptor : fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
  }

  // MARK: Sending

  /// Sends a call; ``BusEvent/reply(id:sender:_:)`` brings the answer. It has no deadline of its own.
  func send(_ request: BusRequest, id: UInt64, to destination: String) throws(SystemdError) {
    var message: OpaquePointer?
    let made = sd_bus_message_new_method_call(
      bus, &message, destination, request.path, request.interface, request.member)
    guard made >= 0, let message else { throw SystemdError(errno: made, operation: request.operation) }
    defer { sd_bus_message_unref(message) }
    for argument in request.arguments { try BusMessage.append(argument, to: message) }
    let receiver = Receiver(inbox, .reply(id: id, operation: request.operation))
    try register(receiver, operation: request.operation) { slot, userdata in
      sd_bus_call_async(bus, slot, message, receive, userdata, UInt64.max)
    }
  }

  /// Asks for signals; the daemon's answer is not waited for, since a lost connection shows by itself.
  func addMatch(_ rule: String, onlyKnownUnits: Bool = false) throws(SystemdError) {
    let receiver = Receiver(inbox, .signal(onlyKnownUnits: onlyKnownUnits))
    try register(receiver, operation: "AddMatch \(rule)") { slot, userdata in
      sd_bus_add_match_async(bus, slot, rule, receive, nil, userdata)
    }
  }

  /// Signals that come from units whose object path does not begin with one of these are dropped undecoded.
  func watchUnits(withPathPrefixes prefixes: [String]) { inbox.unitPathPrefixes = prefixes }

  private func register(
    _ receiver: Receiver, operation: String,
    _ call: (UnsafeMutablePointer<OpaquePointer?>, UnsafeMutableRawPointer) -> CInt
  ) throws(SystemdError) {
    let userdata = Unmanaged.passRetained(receiver)
    var slot: OpaquePointer?
    let result = call(&slot, userdata.toOpaque())
    guard result >= 0 else {
      userdata.release()
      throw SystemdError(errno: result, operation: operation)
    }
    sd_bus_slot_set_destroy_callback(slot) { Unmanaged<Receiver>.fromOpaque($0!).release() }
    // The slot now lives as long as the call or the bus, and takes the receiver with it.
    sd_bus_slot_set_floating(slot, 1)
  }

  // MARK: Receiving

  /// Does all that can be done now and hands each event to `handle`; false when the connection is lost.
  func process(_ handle: (BusEvent) -> Void) -> Bool {
    while true {
      let result = sd_bus_process(bus, nil)
      let events = inbox.events
      inbox.events = []
      for event in events { handle(event) }
      if result < 0 { return false }
      if result == 0 { return true }
    }
  }

  /// Plans the next wake-up: for what sd-bus itself waits for, and at `deadline` (CLOCK_MONOTONIC).
  func planWake(at deadline: DispatchTime?) {
    wantWriting(sd_bus_get_events(bus) & CInt(POLLOUT) != 0)
    var microseconds = UInt64.max
    if sd_bus_get_timeout(bus, &microseconds) < 0 { microseconds = 0 }
    var next = deadline ?? .distantFuture
    if microseconds < UInt64.max / 1000 { next = min(next, DispatchTime(uptimeNanoseconds: microseconds * 1000)) }
    timer.schedule(deadline: next)
  }

  private func wantWriting(_ wanted: Bool) {
    if !wanted {
      writeSource?.cancel()
      writeSource = nil
    } else if writeSource == nil {
      let descriptor = Self.duplicate(sd_bus_get_fd(bus))
      guard descriptor >= 0 else { return }
      let source = DispatchSource.makeWriteSource(fileDescriptor: descriptor, queue: queue)
      source.setEventHandler(handler: wake)
      source.setCancelHandler { @Sendable in close(descriptor) }
      source.activate()
      writeSource = source
    }
  }

  /// Where a C callback puts what it got; sd-bus holds it by the slot's userdata.
  fileprivate final class Receiver {
    enum Purpose {
      case reply(id: UInt64, operation: String)
      case signal(onlyKnownUnits: Bool)
    }
    private let inbox: Inbox
    private let purpose: Purpose

    init(_ inbox: Inbox, _ purpose: Purpose) {
      self.inbox = inbox
      self.purpose = purpose
    }

    func receive(_ message: OpaquePointer) {
      let sender = sd_bus_message_get_sender(message).map { String(cString: $0) } ?? ""
      switch purpose {
      case .reply(let id, let operation):
        let result = Self.result(of: message, operation: operation)
        inbox.events.append(.reply(id: id, sender: sender, result))
      case .signal(let onlyKnownUnits):
        guard let member = sd_bus_message_get_member(message), let path = sd_bus_message_get_path(message) else {
          return
        }
        if onlyKnownUnits && !inbox.unitPathPrefixes.contains(where: { strncmp(path, $0, $0.utf8.count) == 0 }) {
          return
        }
        // A signal that can't be read is no reason to lose the connection; what it tells is found by listing.
        guard let arguments = try? BusMessage.read(message) else { return }
        inbox.events.append(
          .signal(
            member: String(cString: member), path: String(cString: path), sender: sender, arguments: arguments))
      }
    }

    private static func result(of reply: OpaquePointer, operation: String) -> Result<[BusValue], SystemdError> {
      if let error = sd_bus_message_get_error(reply) {
        let name = error.pointee.name.map { String(cString: $0) } ?? ""
        let message = error.pointee.message.map { String(cString: $0) } ?? ""
        return .failure(SystemdError(dbusName: name, message: message, operation: operation))
      }
      do throws(SystemdError) {
        return .success(try BusMessage.read(reply))
      } catch {
        return .failure(SystemdError(.unexpectedReply, error.description, operation: operation))
      }
    }
  }
}

private func receive(
  _ message: OpaquePointer?, _ userdata: UnsafeMutableRawPointer?, _ error: UnsafeMutablePointer<sd_bus_error>?
) -> CInt {
  if let message, let userdata {
    Unmanaged<BusConnection.Receiver>.fromOpaque(userdata).takeUnretainedValue().receive(message)
  }
  return 0
}
