import ControlInterface
import TestSupport
import Testing
import Varlink

@testable import Dispatcher

/// What users and their operator do.
extension DispatcherRig {
  func addKey(
    _ name: String, role: DispatcherTypes.KeyRole = .user, className: String? = nil, requestsPerHour: Int? = nil,
    tokensPerHour: Int? = nil, concurrent: Int? = nil, waiting: Int? = nil
  ) async throws -> String {
    let order = DispatcherCalls.AddKey(
      name: name, role: role, className: className, requestsPerHour: requestsPerHour, tokensPerHour: tokensPerHour,
      concurrent: concurrent, waiting: waiting)
    return try await supervisor.call(
      DispatcherInterface.Method.addKey.qualified, order, as: DispatcherCalls.AddKeyReply.self, timeout: .seconds(30)
    ).key
  }

  @discardableResult
  func revokeKey(_ idOrName: String) async throws -> String {
    try await supervisor.call(
      DispatcherInterface.Method.revokeKey.qualified, DispatcherCalls.RevokeKey(key: idOrName),
      as: DispatcherCalls.RevokeKeyReply.self, timeout: .seconds(30)
    ).name
  }

  func keys() async throws -> [DispatcherTypes.Key] {
    try await supervisor.call(
      DispatcherInterface.Method.listKeys.qualified, as: DispatcherCalls.ListKeysReply.self, timeout: .seconds(30)
    ).keys
  }

  /// Sends a request on a connection of its own.
  func send(
    _ method: String = "POST", _ path: String = "/api/generate", key: String? = nil,
    headers: [(String, String)] = [], body: String = #"{"model":"m","prompt":"hello"}"#
  ) async throws -> HTTPProbe {
    let probe = try await connect()
    try await probe.send(
      method, path, headers: headers + (key.map { [("Authorization", "Bearer \($0)")] } ?? []), body: body)
    return probe
  }

  /// The status of what is answered without an instance.
  func status(
    _ method: String = "POST", _ path: String = "/api/generate", key: String? = nil, headers: [(String, String)] = [],
    body: String = #"{"model":"m","prompt":"hello"}"#
  ) async throws -> Int {
    try await send(method, path, key: key, headers: headers, body: body).answer().status
  }

  /// Has an instance serve one request, the `number`th that it is asked.
  @discardableResult
  func serve(
    _ instance: FakeOllama, _ number: Int, key: String? = nil, headers: [(String, String)] = []
  ) async throws -> HTTPProbe.Answer {
    let client = try await send(key: key, headers: headers)
    try await instance.ask(number).serve()
    return try await client.answer()
  }
}
