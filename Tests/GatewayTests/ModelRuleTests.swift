import Foundation
import OllamaAPI
import PoolCore
import TestSupport
import Testing

@testable import Gateway

/// What the operator has settled for a model, in the requests that its instances get.
@Suite("Rules for models")
struct ModelRuleTests {
  private static func limits(_ length: ModelRule.ContextLength?) -> GatewayLimits {
    var limits = GatewayLimits()
    let rule = ModelRule(contextLength: length, placesLayersByRoom: true)
    limits.modelRules = length == nil ? ModelRules(others: rule) : ModelRules(["m:latest": rule])
    return limits
  }

  /// A request, and its body as the instance gets it.
  private static func relayed(
    _ body: String, _ length: ModelRule.ContextLength?, path: String = "/api/chat", isChunked: Bool = false
  ) async throws -> (head: String, body: String, options: RunnerOptions) {
    let instance = try await FakeInstance.start()
    var result: (String, String, RunnerOptions)?
    try await GatewayRig.run(limits: limits(length), relayingTo: instance) { rig in
      let client = try await rig.connect()
      if isChunked {
        let pieces = body.map { RelayTests.chunk(String($0)) }.joined()
        try await client.send(
          raw: "POST \(path) HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\(pieces)0\r\n\r\n")
      } else {
        try await client.send("POST", path, body: body)
      }
      // What follows on the connection must be found where it begins.
      try await client.send("POST", path, body: #"{"model":"other"}"#)
      let upstream = try await instance.connection()
      let request = try await upstream.request()
      let end = try #require(request.range(of: "\r\n\r\n"))
      result = (
        String(request[..<end.lowerBound]), String(request[end.upperBound...]),
        try await rig.exchange { $0.options }
      )
      upstream.forget()
      try await upstream.answer(#"{"done":true}"#)
      #expect(try await client.answer().status == 200)
      #expect(try await upstream.request().hasSuffix("\r\n\r\n" + #"{"model":"other"}"#))
      try await upstream.answer(#"{"done":true}"#)
      #expect(try await client.answer().status == 200)
    }
    return try #require(result)
  }

  @Test(
    "fix the length of the context, whatever the request says",
    arguments: [
      (#"{"model":"m","options":{"num_ctx":131072}}"#, #"{"model":"m","options":{"num_ctx":4096}}"#),
      (#"{"model":"M:latest","messages":[]}"#, #"{"options":{"num_ctx":4096},"model":"M:latest","messages":[]}"#),
      (#"{"model":"m","Options":null,"a":"é"}"#, #"{"model":"m","Options":{"num_ctx":4096},"a":"é"}"#),
      (
        #"{"options":{"num_ctx":1},"model":"x","model":"m","options":{"num_ctx":1e9,"num_ctx":7}}"#,
        #"{"options":{"num_ctx":1},"model":"x","model":"m","options":{"num_ctx":1e9,"num_ctx":4096}}"#
      ),
    ])
  func fixed(body: String, changed: String) async throws {
    for isChunked in [false, true] {
      let (head, got, options) = try await Self.relayed(body, .fixed(4096), isChunked: isChunked)
      #expect(got == changed)
      #expect(head.contains("\r\nContent-Length: \(changed.utf8.count)"))
      #expect(!head.lowercased().contains("transfer-encoding"))
      #expect(options == RunnerOptions(contextLength: 4096))
    }
  }

  @Test("cut down what is beyond the most, and leave the rest")
  func most() async throws {
    let (_, body, options) = try await Self.relayed(
      #"{"model":"m","options":{"num_ctx":99999,"num_gpu":3}}"#, .most(8192))
    #expect(body == #"{"model":"m","options":{"num_ctx":8192,"num_gpu":-1}}"#)
    #expect(options.description == "num_ctx 8192")
    let less = #"{"model":"m","options":{"num_ctx":2048}}"#
    #expect(try await Self.relayed(less, .most(8192)).body == less)
  }

  @Test(
    "have no request put a model on the CPU",
    arguments: [
      (#"{"num_gpu":0}"#, #"{"num_gpu":-1}"#), (#"{"num_gpu":999,"top_k":1}"#, #"{"num_gpu":-1,"top_k":1}"#),
      (#"{"num_gpu":1,"num_gp\u0075":2}"#, #"{"num_gpu":1,"num_gp\u0075":-1}"#),
      (#"{"num_gpu":"x","num_gpu":0}"#, #"{"num_gpu":"x","num_gpu":-1}"#),
      (#"{"num_gpu":-2}"#, #"{"num_gpu":-2}"#), (#"{"num_gpu":null}"#, #"{"num_gpu":null}"#),
      (#"{"num_gpu":"0"}"#, #"{"num_gpu":"0"}"#), (#"{"Num_gpu":0}"#, #"{"Num_gpu":0}"#),
    ])
  func layers(asked: String, got: String) async throws {
    let (_, body, options) = try await Self.relayed(#"{"model":"any","options":\#(asked)}"#, nil)
    #expect(body == #"{"model":"any","options":\#(got)}"#)
    #expect(options == RunnerOptions())
  }

  @Test(
    "leave alone what is for others, or can't be read",
    arguments: [
      #"{"model":"n","options":{"num_ctx":131072}}"#, #"{"model":"m:1b","options":{"num_ctx":131072}}"#,
      "(\u{B5}/\u{FD}", #"{"model":"m","options":[]}"#, #"{"model":"m","options":{"num_ctx":"9"}}"#, "nonsense",
      #"{"model":"m","options":{"num_ctx":9}"#, #"{"model":"n","options":{"num_gpu":0}}"#,
    ])
  func others(body: String) async throws {
    #expect(try await Self.relayed(body, .fixed(4096)).body == body)
  }

  @Test("hold only where Ollama reads the options", arguments: ["/v1/chat/completions", "/v1/messages", "/api/show"])
  func routes(path: String) async throws {
    let body = #"{"model":"m","options":{"num_ctx":131072}}"#
    let (_, got, options) = try await Self.relayed(body, .fixed(4096), path: path)
    #expect(got == body)
    #expect(options == RunnerOptions())
  }

  @Test("find their place in a body of megabytes", arguments: [true, false])
  func large(isFirst: Bool) async throws {
    let image = String(repeating: "A", count: 3 << 20)
    let option = #""options":{"num_ctx":131072}"#
    let body =
      isFirst
      ? #"{"model":"m",\#(option),"images":["\#(image)"]}"# : #"{"images":["\#(image)"],\#(option),"model":"m"}"#
    let got = try await Self.relayed(body, .fixed(4096)).body
    #expect(got == body.replacing("131072", with: "4096"))
  }
}
