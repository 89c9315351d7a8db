import Glibc
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing
import Varlink

/// How long a test waits for what takes milliseconds where nothing else runs: a machine full of builds is slow.
let patience = Duration.seconds(60)

/// A server with one interface that can do all that a service may do, in a folder of its own.
struct Fixture {
  let folder: TemporaryDirectory
  let path: String
  let server: VarlinkServer
  let example: ExampleInterface

  func client() async throws -> VarlinkClient {
    try await VarlinkClient.connect(
      to: path, on: MultiThreadedEventLoopGroup.singleton, timeout: patience)
  }

  static let service = VarlinkService(
    vendor: "Example", product: "example", version: "1.2.3", url: "https://example.org")
}

/// Runs `body` with a server, and closes the server whatever happens.
func withServer(
  limits: VarlinkLimits = VarlinkLimits(), on group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
  _ body: (Fixture) async throws -> Void
) async throws {
  let folder = try TemporaryDirectory()
  let path = folder.path(to: "s")
  let example = ExampleInterface()
  let server = try await VarlinkServer.start(
    at: .path(path), serving: [example], as: Fixture.service, limits: limits, on: group,
    onClose: { id, _ in example.state.withLock { $0.closed.append(id) } })
  do {
    try await body(Fixture(folder: folder, path: path, server: server, example: example))
  } catch {
    await server.close()
    throw error
  }
  await server.close()
}

/// `org.example.Test`: one method for each way in which a handler may behave.
final class ExampleInterface: VarlinkInterface {
  struct State {
    /// Calls of `Hold`, for the test to answer.
    var held: [VarlinkCall] = []
    /// The texts that `Echo` and `Note` were given, in order.
    var texts: [String] = []
    /// Connections that the server said are gone.
    var closed: [VarlinkConnectionID] = []
  }

  struct Text: Codable, Equatable { var text: String }
  struct Range: Codable { var to: Int }
  struct Number: Codable, Equatable { var number: Int }
  struct Who: Codable { var uid, gid: UInt32, pid: Int32, connection: UInt64 }
  struct Instances: Codable {
    struct Instance: Codable { var id: String, slots: Int }
    var instances: [Instance]
  }

  let state = Mutex(State())
  let name = "org.example.Test"
  let description = """
    # One method for each way in which a handler may behave
    interface org.example.Test

    type Instance (id: string, slots: int)

    # Answers what it was given
    method Echo(text: string) -> (text: string)

    # Takes a text and answers nothing of it
    method Note(text: string) -> ()

    # Counts up from 1, one reply each; needs more
    method Count(to: int) -> (number: int)

    # Is answered when the test says so
    method Hold() -> (text: string)

    # Is let go without an answer
    method Drop() -> ()

    # Is answered from another thread
    method Later(text: string) -> (text: string)

    # Counts the slots
    method Slots(instances: []Instance) -> (number: int)

    # Who is calling
    method WhoAmI() -> (uid: int, gid: int, pid: int, connection: int)

    # Is never allowed
    method Forbidden() -> ()

    # Is refused with an error of this interface
    method Refuse(text: string) -> ()

    # Answers what JSON cannot say
    method Unspeakable() -> (value: float)

    error Refused (text: string)

    """

  func handle(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    switch call.method {
    case "Echo":
      let text = try call.parameters(as: Text.self)
      state.withLock { $0.texts.append(text.text) }
      call.reply(text)
    case "Note":
      let text = try call.parameters(as: Text.self).text
      state.withLock { $0.texts.append(text) }
      call.reply()
    case "Count":
      guard call.wantsMore else { throw .expectedMore }
      let last = try call.parameters(as: Range.self).to
      guard last > 0 else { throw .invalidParameter("to") }
      for number in 1..<last { call.stream(Number(number: number)) }
      call.reply(Number(number: last))
    case "Hold":
      state.withLock { $0.held.append(call) }
    case "Drop":
      break
    case "Later":
      let text = try call.parameters(as: Text.self)
      Task { call.reply(text) }
    case "Slots":
      let slots = try call.parameters(as: Instances.self).instances.map(\.slots).reduce(0, +)
      call.reply(Number(number: slots))
    case "WhoAmI":
      let peer = call.peer
      call.reply(
        Who(uid: peer.userID, gid: peer.groupID, pid: peer.processID, connection: call.connection.value))
    case "Forbidden":
      throw .permissionDenied
    case "Refuse":
      let text = try call.parameters(as: Text.self).text
      throw VarlinkErrorReply("org.example.Test.Refused", ["text": .string(text)])
    case "Unspeakable":
      call.reply(["value": Double.nan])
    default:
      throw .methodNotFound(call.name)
    }
  }

  /// See ``State``.
  var texts: [String] { state.withLock { $0.texts } }
  var closed: [VarlinkConnectionID] { state.withLock { $0.closed } }

  /// Waits until `count` calls of `Hold` have come, and returns them.
  func heldCalls(_ count: Int) async throws -> [VarlinkCall] {
    try await eventualValue(within: patience, "\(count) calls are held") {
      let held = state.withLock { $0.held }
      return held.count >= count ? held : nil
    }
  }
}

/// The error reply that `body` ends with.
func errorReply(of body: () async throws -> Void) async throws -> VarlinkErrorReply {
  let error = try await #require(throws: VarlinkError.self) { try await body() }
  guard case .remote(let reply) = error.code else { throw error }
  return reply
}

/// The code of the error that `body` ends with.
func errorCode(of body: () async throws -> Void) async throws -> VarlinkError.Code {
  try await #require(throws: VarlinkError.self) { try await body() }.code
}
