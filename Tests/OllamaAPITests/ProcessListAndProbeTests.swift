import Foundation
import PoolCore
import Testing

@testable import OllamaAPI

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

@Suite struct ModelListingTests {
  private static func here(_ entries: String...) -> Set<String>? {
    ModelListing.hereDespiteTheirNames(Array(#"{"models":[\#(entries.joined(separator: ","))]}"#.utf8))
  }

  @Test func `a model is here that has the name of one elsewhere and is not listed as such`() {
    #expect(
      Self.here(
        #"{"name":"gpt-oss:120b-cloud","remote_model":"gpt-oss:120b","remote_host":"https://ollama.com:443"}"#,
        #"{"name":"Llama3.2:Mine-Cloud","model":"x"}"#, #"{"name":"llama3.2:latest"}"#,
        #"{"model":"glm:cloud","remote_host":"","remote_model":null}"#, #"{"size":5}"#)
        == ["llama3.2:mine-cloud", "glm:cloud"])
    #expect(Self.here() == [])
    #expect(ModelListing.hereDespiteTheirNames(Array("5".utf8)) == nil)
  }
}

@Suite struct LoadedModelsTests {
  private static func models(_ entries: String...) -> [LoadedModel]? {
    ProcessList.models(Array(#"{"models":[\#(entries.joined(separator: ","))]}"#.utf8))
  }

  @Test func `what an instance holds is read by its normalised name`() {
    #expect(
      Self.models(
        #"{"name":"Llama3.2","model":"x","size":6654289920,"size_vram":6654289920,"context_length":4096,"details":{"size":1}}"#,
        #"{"model":"registry.ollama.ai/library/b:1","size":5,"size_vram":0}"#)
        == [
          LoadedModel(
            name: "llama3.2:latest", size: 6_654_289_920, sizeOnGPU: 6_654_289_920, contextLength: 4096),
          LoadedModel(name: "b:1", size: 5, sizeOnGPU: 0),
        ])
    #expect(Self.models() == [])
  }

  @Test func `more on the GPU than there is means all of it`() {
    #expect(Self.models(#"{"name":"a","size":5,"size_vram":6}"#)?.map(\.sizeOnGPU) == [5])
  }

  @Test(arguments: [
    "5", "[]", "{}", #"{"name":"a"}"#, #"{"name":"a","size":1}"#, #"{"name":"","size":1,"size_vram":1}"#,
    #"{"name":"a","size":-1,"size_vram":0}"#, #"{"name":"a","size":1e30,"size_vram":0}"#,
    #"{"name":"a","size":1,"size_vram":-5}"#, #"{"name":"a","size":"1","size_vram":1}"#,
    #"{"name":7,"size":1,"size_vram":1}"#, #"{"name":"a","size":1,"size_vram":1,"context_length":-4}"#,
    #"{"name":"a","size":1,"size_vram":1,"context_length":1e12}"#,
  ])
  func `an entry that makes no sense is left out`(entry: String) {
    let good = #"{"name":"good","size":1,"size_vram":1,"context_length":0}"#
    #expect(Self.models(entry, good) == [LoadedModel(name: "good:latest", size: 1, sizeOnGPU: 1)])
  }

  @Test(arguments: ["", "garbage", #"{"models":null}"#, #"{"models":[}"#, #"{"models":5}"#, #"{"models":[{}"#, "{}"])
  func `what is no list is no list`(body: String) {
    #expect(ProcessList.models(Array(body.utf8)) == nil)
  }

  @Test func `a list has an end`() {
    let entries = (0..<1000).map { #"{"name":"m\#($0)","size":1,"size_vram":1}"# }.joined(separator: ",")
    #expect(Self.models(entries)?.count == ProcessList.mostModels)
  }
}

@Suite struct ProbeTests {
  @Test func `a probe is what Ollama documents`() {
    #expect(Probe.liveness.method == "GET" && Probe.liveness.path == "/api/version" && Probe.liveness.body.isEmpty)
    #expect(
      String(decoding: Probe.preload("a\"b").body, as: UTF8.self) == #"{"model":"a\"b","keep_alive":-1,"stream":false}"#
    )
    #expect(
      String(decoding: Probe.preload("m", contextLength: 8192).body, as: UTF8.self)
        == #"{"model":"m","options":{"num_ctx":8192},"keep_alive":-1,"stream":false}"#)
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
