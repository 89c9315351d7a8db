import ControlInterface
import Foundation
import NIOPosix
import Synchronization
import TestSupport
import Varlink

/// Daemons that answer what a test tells them, and keep what they were asked.
final class FakePool: Sendable {
  let folder: TemporaryDirectory
  private let servers: [VarlinkServer]
  private let asked: Record

  private final class Record: Sendable {
    let calls = Mutex<[String: JSONValue]>([:])
  }

  /// The parameters of the last call of each method, by its qualified name.
  var calls: [String: JSONValue] { asked.calls.withLock { $0 } }

  private init(folder: TemporaryDirectory, servers: [VarlinkServer], asked: Record) {
    self.folder = folder
    self.servers = servers
    self.asked = asked
  }

  /// An answer to a method: parameters as JSON, or an error.
  enum Answer: Sendable {
    case json(String)
    case error(VarlinkErrorReply)
    case nothing
  }

  /// Runs `body` beside a pool. A daemon without answers is down.
  static func run(
    dispatcher: [String: Answer]? = nil, supervisor: [String: Answer]? = nil,
    body: (FakePool) async throws -> Void
  ) async throws {
    let folder = try TemporaryDirectory()
    let asked = Record()
    var servers: [VarlinkServer] = []
    for (file, name, answers) in [
      ("dispatcher.sock", DispatcherInterface.name, dispatcher),
      ("supervisor.sock", SupervisorInterface.name, supervisor),
    ] {
      guard let answers else { continue }
      let interface = FakeInterface(name: name, answers: answers) { name, parameters in
        asked.calls.withLock { $0[name] = parameters }
      }
      servers.append(
        try await VarlinkServer.start(
          at: .path(folder.path(to: file)), serving: [interface],
          as: VarlinkService(vendor: "Test", product: "fake", version: "1", url: "https://example.org"),
          on: MultiThreadedEventLoopGroup.singleton))
    }
    let pool = FakePool(folder: folder, servers: servers, asked: asked)
    do {
      try await body(pool)
    } catch {
      await pool.close()
      throw error
    }
    await pool.close()
  }

  private func close() async { for server in servers { await server.close() } }

  func run(_ arguments: String..., environment: [String: String?] = [:]) async throws -> CommandLine.Result {
    try await CommandLine.run(arguments, socket: folder.path, environment: environment)
  }
}

private struct FakeInterface: VarlinkInterface {
  let name: String
  let description = "interface of a test"
  let answers: [String: FakePool.Answer]
  let record: @Sendable (String, JSONValue) -> Void

  init(
    name: String, answers: [String: FakePool.Answer], record: @escaping @Sendable (String, JSONValue) -> Void
  ) {
    self.name = name
    self.answers = answers
    self.record = record
  }

  func handle(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    record(call.name, try call.parameters(as: JSONValue.self))
    switch answers[call.method] {
    case .json(let text):
      guard let value = try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8)) else {
        throw .methodNotImplemented(call.name, reason: "the test's JSON is wrong: \(text)")
      }
      call.reply(value)
    case .error(let error): throw error
    case .nothing: call.reply()
    case nil: throw .methodNotFound(call.name)
    }
  }
}

/// What the daemons of a small pool say: gpu0 serves, gpu1 starts, three requests wait.
enum Sample {
  static let dispatcherStatus = FakePool.Answer.json(
    """
    {"version":"0.1.0","processID":701,"startedSecondsAgo":3725,"endpoints":["http://127.0.0.1:11434"],
     "metrics":"http://127.0.0.1:11435/metrics","queue":\(queue),"reloads":\(reloads)}
    """)

  static let reloads = """
    [{"model":"old:latest","client":"10.0.0.9","count":1,"instance":"gpu0","from":"the defaults","to":"num_gpu 20",
      "secondsAgo":7200},
     {"model":"llama3.2:3b","client":"10.0.0.7","count":7,"instance":"gpu0","from":"num_ctx 8192, num_batch 512",
      "to":"num_ctx 4096, num_batch 512","secondsAgo":12}]
    """

  static let queue = """
    {"epoch":"e1","depth":3,"oldestWaitSeconds":12.5,"inFlight":1,"peakDemand":4,"arrivals":9,"completions":5,
     "models":[],"frontEnds":[{"name":"web","depth":7}],"maxConcurrent":1,"draining":false,"instances":[
      {"id":"gpu0","invocation":"a","address":"127.0.0.1:11500","gpus":["GPU-a"],"slots":1,"role":"core",
       "health":"healthy","healthFinal":false,"leases":1,"references":0,"retired":false},
      {"id":"gpu1","invocation":"b","address":"127.0.0.1:11501","gpus":["GPU-b"],"slots":1,"role":"core",
       "health":"starting","healthFinal":false,"leases":0,"references":0,"retired":false}]}
    """

  static let supervisorStatus = supervisorStatus(problems: "[]", dispatcherConnected: true)

  static func supervisorStatus(problems: String, dispatcherConnected: Bool) -> FakePool.Answer {
    .json(
      """
      {"status":{"version":"0.1.0","processID":702,"startedSecondsAgo":3725,"launcher":"transient units",
       "ollama":"/usr/bin/ollama","inventory":"drivers","problems":\(problems),"store":{"path":"/srv/models","source":"models_path",
       "owner":"ollama","mode":"755","writer":"gpu0"},"dispatcherConnected":\(dispatcherConnected),
       "desired":2,"desiredReason":"the requests of now need 2","minimum":1,"maximum":4,"isOverridden":false,
       "coldStartSeconds":20,"instances":[
        {"id":"gpu0","state":"ready","reason":"","gpus":["GPU-a"],"slots":1,"unit":"ollama-instance-gpu0.service",
         "invocation":"a","mainPID":4711,"address":"127.0.0.1:11500","leases":1,"runningSeconds":90,"failures":0},
        {"id":"gpu1","state":"starting","reason":"","gpus":["GPU-b"],"slots":1,"unit":"ollama-instance-gpu1.service",
         "invocation":"b","mainPID":4712,"address":"127.0.0.1:11501","leases":0,"runningSeconds":1,"failures":0},
        {"id":"gpu2","state":"backingOff","reason":"exit status 1","gpus":["GPU-c"],"slots":1,"leases":0,"failures":2,
         "retryInSeconds":4}],
       "gpus":[
        {"uuid":"GPU-a","number":0,"name":"NVIDIA H100","vendor":"nvidia","memoryTotalBytes":85899345920,
         "memoryUsedBytes":1073741824,"memoryOursBytes":805306368,"memoryOthersBytes":268435456,"state":"ours",
         "utilisationPercent":97,"temperatureCelsius":61,"instances":["gpu0"]},
        {"uuid":"GPU-b","number":1,"vendor":"nvidia","instances":["gpu1"],"state":"failed","reason":"it is lost",
         "problem":"GPU-b: GPU is lost: restart"},
        {"uuid":"GPU-c","number":2,"vendor":"nvidia","instances":["gpu2"],"cordon":"fan",
         "state":"cordoned","reason":"fan","cordonSecondsLeft":7200,"label":"2.7","sliceOf":"GPU-x"},
        {"uuid":"GPU-d","number":3,"vendor":"nvidia","instances":[],"state":"failed","reason":"the GPU is lost",
         "retryInSeconds":8}]}}
      """)
  }

  static let requests = FakePool.Answer.json(
    #"""
    {"requests":[
     {"id":41,"method":"POST","path":"/api/chat","model":"llama3.2","client":"127.0.0.1","ageSeconds":31,
      "instance":"gpu0","begun":true},
     {"id":42,"position":2,"etaSeconds":34.6,"etaP90Seconds":60,"method":"POST","path":"/api/chat\u001b[2J","model":"llama3.2","client":"10.0.0.7",
      "user":"a\u0007b","class":"standard","ageSeconds":12.5,"begun":false},
     {"id":43,"method":"POST","path":"/chat/stream","client":"10.0.0.8","ageSeconds":3,"begun":false,"suspended":true,
      "requestID":"KqM7Zc1xT0a3yV9d2LwE5g"}]}
    """#)
}
