/// Varlink (https://varlink.org) on SwiftNIO over Unix sockets: the codec, a server and a client.
///
/// A message is one JSON object ended by a NUL byte. A call names a method (`org.example.Ping.Ping`) and its
/// parameters; its reply is an object of parameters, or an error with a name. `more` asks for a stream of replies,
/// of which all but the last carry `continues`; `oneway` wants none; `upgrade` is refused. On one connection calls are
/// answered in order, one at a time. The module knows nothing of what is served.
///
/// A server: an interface is a value that answers calls on the connection's event loop, or hands them on.
/// ```swift
/// struct Ping: VarlinkInterface {
///   let name = "org.example.Ping"
///   let description = "interface org.example.Ping\nmethod Ping(text: string) -> (text: string)\n"
///   struct Text: Codable { var text: String }
///
///   func handle(_ call: VarlinkCall) throws(VarlinkErrorReply) {
///     guard call.method == "Ping" else { throw .methodNotFound(call.name) }
///     call.reply(try call.parameters(as: Text.self))
///   }
/// }
/// let service = VarlinkService(vendor: "Example", product: "ping", version: "1", url: "https://example.org")
/// let server = try await VarlinkServer.start(at: .path("/run/ping.sock"), serving: [Ping()], as: service, on: loop)
/// ```
/// A client:
/// ```swift
/// let client = try await VarlinkClient.connect(to: "/run/ping.sock", on: group)
/// let pong = try await client.call("org.example.Ping.Ping", Ping.Text(text: "hello"), as: Ping.Text.self)
/// for try await tick in try await client.subscribe("org.example.Clock.Watch", as: Tick.self) { … }
/// ```
///
/// Bounds are in ``VarlinkLimits``. What a peer sends costs it at most its own connection.
package struct VarlinkLimits: Sendable, Equatable {
  /// Connections at once; a further one is closed as soon as it is accepted.
  package var maximumConnections = 256

  /// Connections of one user at once, so that no single user of the socket can shut all others out.
  package var maximumConnectionsPerUser = 192

  /// Connections beyond these for root and for the server's own user, who are not bounded as users: however many others
  /// hold, the daemon's peer and its operator get in.
  package var reservedConnections = 64

  /// Bytes of one call without its NUL; a longer one closes its connection.
  package var maximumMessageBytes = 1 << 20

  /// Bytes of replies that a subscriber has not read yet, beyond what the kernel holds for it. A further reply of a
  /// stream closes its connection instead of growing this process; the last reply of a call is always accepted, and
  /// no further call is taken up before the peer has read.
  package var maximumUnreadBytes = 1 << 20

  package init() {}
}

/// What `org.varlink.service.GetInfo` says of the server.
package struct VarlinkService: Sendable, Equatable {
  package var vendor: String
  package var product: String
  package var version: String
  package var url: String

  package init(vendor: String, product: String, version: String, url: String) {
    self.vendor = vendor
    self.product = product
    self.version = version
    self.url = url
  }
}
