import Foundation
import Testing

import OllamaAPI

@Suite struct ProcessListTests {
  let one = #"""
    {"models":[{"name":"a:latest","model":"a:latest","size":6654289920,"digest":"ab","details":{"family":"x","families":null},
    "expires_at":"2318-01-01T00:00:00.123456789Z","size_vram":0,"context_length":4096}]}
    """#
  let two = #" { "extra" : 1, "models" : [ {"name":"b","unknown":[1,{"x":"]"}]} , {"name":"c"} ] } "#

  @Test func `lists are merged with all their fields`() throws {
    let merged = ProcessList.merge([Array(one.utf8), Array(two.utf8), Array(#"{"models":[]}"#.utf8)])
    let object = try #require(try JSONSerialization.jsonObject(with: Data(merged)) as? [String: [[String: Any]]])
    let models = try #require(object["models"])
    #expect(models.map { $0["name"] as? String } == ["a:latest", "b", "c"])
    #expect(models[1]["unknown"] != nil)
    #expect((models[0]["details"] as? [String: Any])?["family"] as? String == "x")
  }

  @Test(arguments: [
    [], ["garbage"], [#"{"models":null}"#], [#"{"models":[}"#], [#"{"models":5}"#], ["{\"models\":[{}]"],
  ])
  func `what is no list adds nothing`(bodies: [String]) {
    #expect(String(decoding: ProcessList.merge(bodies.map { Array($0.utf8) }), as: UTF8.self) == #"{"models":[]}"#)
  }
}

@Suite struct ProbeTests {
  @Test func `a probe is what Ollama documents`() {
    #expect(Probe.liveness.method == "GET" && Probe.liveness.path == "/api/version" && Probe.liveness.body.isEmpty)
    #expect(
      String(decoding: Probe.preload("a\"b").body, as: UTF8.self) == #"{"model":"a\"b","keep_alive":-1,"stream":false}"#
    )
    #expect(Probe.preloadEmbedding("m").path == "/api/embed")
    #expect(
      String(decoding: Probe.preloadEmbedding("m").body, as: UTF8.self)
        == #"{"model":"m","input":"ok","keep_alive":-1}"#)
  }

  @Test func `an embedding model is asked another way, and is no failure`() {
    let refusal = Array(#"{"error":"\"nomic\" does not support generate"}"#.utf8)
    #expect(Probe.preloadResult(status: 200, body: []) == .loaded)
    #expect(Probe.preloadResult(status: 400, body: refusal) == .doesNotGenerate)
    #expect(
      Probe.preloadResult(status: 404, body: Array(#"{"error":"model 'x' not found"}"#.utf8))
        == .failed(message: "model 'x' not found"))
    #expect(Probe.preloadResult(status: 500, body: Array("oops".utf8)) == .failed(message: "status 500"))
  }
}
