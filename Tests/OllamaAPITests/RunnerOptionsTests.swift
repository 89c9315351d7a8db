import Foundation
import PoolCore
import Testing

@testable import OllamaAPI

/// A small model of how Ollama reads the options: with Go's rules, over members that the test has made up itself.
struct OptionsModel {
  enum Value {
    case object([(key: String, text: String, number: Int?)])
    case null
  }

  /// The members of one body whose key names `options`, in their order.
  var members: [Value]

  /// `num_ctx` as Ollama would find it in its map; nil where it would take its own.
  var contextLength: Int? { last?.number }

  /// Whether Ollama refuses the request for what it finds there.
  var isRefused: Bool { last.map { $0.number == nil && $0.text != "null" } ?? false }

  private var last: (text: String, number: Int?)? {
    var found: (String, Int?)?
    for member in members {
      switch member {
      case .null: found = nil
      case .object(let entries):
        for entry in entries where entry.key == "num_ctx" { found = (entry.text, entry.number) }
      }
    }
    return found
  }
}

@Suite struct RunnerOptionsTests {
  @Test(
    arguments: [
      (#"{"options":{"num_ctx":8192}}"#, "num_ctx 8192"),
      (#"{"OPTIONS":{"num\u005fctx":8192.9,"num_gpu":20}}"#, "num_ctx 8192, num_gpu 20"),
      (#"{"options":{"num_ctx":1,"num_batch":256,"num_thread":4}}"#, "num_ctx 4, num_batch 256, num_thread 4"),
      (#"{"options":{"use_mmap":false,"use_mlock":true}}"#, "use_mmap false, use_mlock true"),
      (#"{"options":{"num_gpu":-1,"num_thread":0,"main_gpu":0,"temperature":0.5}}"#, "the defaults"),
      (#"{"options":{"NUM_CTX":8192,"num_ctx ":1}}"#, "the defaults"),
      (#"{"options":{"num_ctx":1024,"num_ctx":2048}}"#, "num_ctx 2048"),
      (#"{"options":{"num_ctx":1024,"num_ctx":null}}"#, "the defaults"),
      (#"{"options":{"num_ctx":1024},"options":{"num_batch":8}}"#, "num_ctx 1024, num_batch 8"),
      (#"{"options":{"num_ctx":1024},"Options":null,"options":{"num_batch":8}}"#, "num_batch 8"),
      (#"{"options":{"num_ctx":"1024"}}"#, "the defaults"),
      (#"{"options":{"num_ctx":1e400}}"#, "num_ctx \(Int.max)"),
      (#"{"options":[{"num_ctx":1024}],"num_ctx":5}"#, "the defaults"),
      (#"{"messages":[{"options":{"num_ctx":1024}}]}"#, "the defaults"),
      (#"{"options":{"a":{"num_ctx":1024}}}"#, "the defaults"),
    ] as [(String, String)])
  func `what makes an instance load a model anew is found as Ollama finds it`(body: String, options: String) throws {
    #expect(try RequestFields.scan(Array(body.utf8))?.options.description == options)
  }

  @Test func `the members of the options count as those of the body do`() {
    let many = (0..<RequestFields.mostMembers).map { #""a\#($0)":1"# }.joined(separator: ",")
    #expect(throws: RequestFields.TooManyMembers.self) {
      try RequestFields.scan(Array(#"{"model":"m","options":{\#(many)}}"#.utf8))
    }
    let objects = Array(repeating: #""options":{"a":1}"#, count: 600).joined(separator: ",")
    #expect(throws: RequestFields.TooManyMembers.self) { try RequestFields.scan(Array("{\(objects)}".utf8)) }
  }

  @Test func `a number keeps within the bounds of one`() {
    func integer(_ text: String) -> Int? {
      Array(text.utf8).withUnsafeBytes { JSONText.integer($0[...]) }
    }
    #expect(integer("-1") == -1 && integer("1E3") == 1000 && integer("0.9") == 0)
    #expect(integer("1e300") == .max && integer("-1e300") == .min)
    #expect(integer(String(repeating: "9", count: 5000)) == .max)
    for text in ["", "-", "nan", "inf", "0x10", "1e", "--1", "1.", " 1", "true", "+1"] {
      #expect(integer(text) == nil, "\(text)")
    }
  }
}

@Suite struct ModelRuleTests {
  private static func apply(_ rule: ModelRule.ContextLength, _ body: String) -> String {
    var bytes = Array(body.utf8)
    for edit in BodyEdit.edits(bytes, for: ModelRule(contextLength: rule)).reversed() {
      bytes.replaceSubrange(edit.range, with: edit.replacement)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test(
    arguments: [
      (#"{"model":"m"}"#, #"{"options":{"num_ctx":4096},"model":"m"}"#),
      (#"  {}"#, #"  {"options":{"num_ctx":4096}}"#),
      (#"{"options":{}}"#, #"{"options":{"num_ctx":4096}}"#),
      (#"{"options": { "seed":1 } }"#, #"{"options": {"num_ctx":4096, "seed":1 } }"#),
      (#"{"options":null,"a":1}"#, #"{"options":{"num_ctx":4096},"a":1}"#),
      (#"{"options":{"num_ctx": 8192 }}"#, #"{"options":{"num_ctx": 4096 }}"#),
      (#"{"options":{"num_ctx":null}}"#, #"{"options":{"num_ctx":4096}}"#),
      (#"{"options":{"num_ctx":1,"num_ctx":2}}"#, #"{"options":{"num_ctx":1,"num_ctx":4096}}"#),
      (#"{"options":{"num_ctx":"x","num_ctx":2}}"#, #"{"options":{"num_ctx":"x","num_ctx":4096}}"#),
      (
        #"{"options":{"num_ctx":[]},"options":{"num_ctx":2}}"#,
        #"{"options":{"num_ctx":[]},"options":{"num_ctx":4096}}"#
      ),
      (#"{"options":{"num_ctx":1},"OPTIONS":null}"#, #"{"options":{"num_ctx":1},"OPTIONS":{"num_ctx":4096}}"#),
      (#"{"options":{"num_ctx":1},"options":{"a":2}}"#, #"{"options":{"num_ctx":4096},"options":{"a":2}}"#),
      (#"{"options":{"NUM_CTX":1}}"#, #"{"options":{"num_ctx":4096,"NUM_CTX":1}}"#),
      (#"{"options":{"num\u005fctx":1e9}} trailing"#, #"{"options":{"num\u005fctx":4096}} trailing"#),
      (#"{"ſtream":1,"optionſ":{"num_ctx":1}}"#, #"{"ſtream":1,"optionſ":{"num_ctx":4096}}"#),
    ] as [(String, String)])
  func `a fixed length is the one that Ollama reads in the end`(body: String, changed: String) {
    #expect(Self.apply(.fixed(4096), body) == changed)
  }

  @Test(
    arguments: [
      (#"{"options":{"num_ctx":131072}}"#, #"{"options":{"num_ctx":4096}}"#),
      (#"{"options":{"num_ctx":2048}}"#, #"{"options":{"num_ctx":2048}}"#),
      (#"{"options":{"num_ctx":1e300,"num_ctx":5}}"#, #"{"options":{"num_ctx":1e300,"num_ctx":5}}"#),
      (#"{"options":{"seed":1}}"#, #"{"options":{"seed":1}}"#),
      (#"{"options":{"num_ctx":null}}"#, #"{"options":{"num_ctx":null}}"#),
      (#"{"model":"m"}"#, #"{"model":"m"}"#),
    ] as [(String, String)])
  func `the most that may be asked for cuts down what is beyond`(body: String, changed: String) {
    #expect(Self.apply(.most(4096), body) == changed)
  }

  @Test(arguments: [
    "", "[]", "null", "(\u{B5}/\u{FD}", #"{"options":5}"#, #"{"options":[]}"#, #"{"options":"num_ctx"}"#,
    #"{"options":{"num_ctx":"9"}}"#, #"{"options":{"num_ctx":true}}"#, #"{"options":{"num_ctx":9}"#,
    #"{"options":{"num_ctx":9},"#, #"{"options":{"num_ctx" 9}}"#, #"{"options":{"num_ctx":[9]}}"#,
    #"{"options":{"num_ctx":9} "a":1}"#, #"{"options":{"num_ctx":9,"num_ctx":"x"}}"#,
  ])
  func `what an instance would refuse passes as it is`(body: String) {
    #expect(Self.apply(.fixed(4096), body) == body)
    #expect(Self.apply(.most(1), body) == body)
  }

  @Test(arguments: 0..<40) func `whatever a body says, Ollama reads what the rule grants`(seed: UInt64) throws {
    var json = RandomJSON(random: SeededGenerator(seed: seed))
    for _ in 0..<50 {
      let (text, model) = Self.randomBody(&json)
      let rule: ModelRule.ContextLength = Bool.random(using: &json.random) ? .fixed(4096) : .most(4096)
      let changed = Self.apply(rule, text)
      if model.isRefused {
        #expect(changed == text)
        continue
      }
      let expected = rule.granted(model.contextLength)
      let fields = try #require(try RequestFields.scan(Array(changed.utf8)), "seed \(seed): \(changed)")
      #expect(fields.options.contextLength == expected, "seed \(seed): \(text) became \(changed)")
      _ = try JSONSerialization.jsonObject(with: Data(changed.utf8))
      // A second time nothing is left to do.
      #expect(Self.apply(rule, changed) == changed, "seed \(seed)")
    }
  }

  private static func randomBody(_ json: inout RandomJSON) -> (String, OptionsModel) {
    var members: [(String, String)] = [("\"model\"", json.string())]
    var model = OptionsModel(members: [])
    for _ in 0..<Int.random(in: 0...3, using: &json.random) {
      if Bool.random(using: &json.random) { members.append(("\"x\(members.count)\"", json.value())) }
      let key = ["\"options\"", "\"Options\"", #""\u006fptions""#].randomElement(using: &json.random) ?? ""
      if Int.random(in: 0..<4, using: &json.random) == 0 {
        members.append((key, "null"))
        model.members.append(.null)
        continue
      }
      var entries: [(key: String, text: String, number: Int?)] = []
      for _ in 0..<Int.random(in: 0...4, using: &json.random) {
        let number = [nil, 4, 2048, 4096, 8192, 1_000_000].randomElement(using: &json.random) ?? nil
        let name = ["num_ctx", "num_ctx", "NUM_CTX", "num_predict"].randomElement(using: &json.random) ?? ""
        let other = ["null", "\"8192\"", "[4]"].randomElement(using: &json.random) ?? ""
        entries.append((name, number.map(String.init) ?? other, number))
      }
      let spelled = entries.map {
        ($0.key == "num_ctx" && json.space().isEmpty ? #""num\u005fctx""# : "\"\($0.key)\"", $0.text)
      }
      members.append((key, json.object(spelled)))
      model.members.append(.object(entries))
    }
    return (json.object(members), model)
  }

  @Test(arguments: 0..<20) func `random and damaged bytes never crash it`(seed: UInt64) {
    var json = RandomJSON(random: SeededGenerator(seed: seed))
    for _ in 0..<200 {
      var bytes = Array(Self.randomBody(&json).0.utf8)
      for _ in 0..<Int.random(in: 1...4, using: &json.random) {
        let index = Int.random(in: bytes.indices, using: &json.random)
        switch Int.random(in: 0...2, using: &json.random) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &json.random)
        case 1: bytes.insert("{}[]\",:\\e.-".utf8.randomElement(using: &json.random) ?? 0, at: index)
        default: bytes.removeSubrange(index...)
        }
        if bytes.isEmpty { break }
      }
      var end = 0
      for edit in BodyEdit.edits(bytes, for: ModelRule(contextLength: .fixed(4096))) {
        #expect(edit.range.lowerBound >= end && edit.range.upperBound <= bytes.count)
        end = edit.range.upperBound
      }
      _ = ProcessList.models(bytes)
    }
  }
}
