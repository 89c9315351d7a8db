import Foundation
import Gateway
import OllamaAPI
import PoolCore
import TestSupport
import Testing
import Yams

/// What `docs/openapi.yaml` names is what the code has. (That the pool answers so is tested in EndToEndTests.)
struct OpenAPIDocumentTests {
  private let document: [String: Any]

  init() throws {
    document = try #require(try Yams.load(yaml: Repository.text("docs/openapi.yaml")) as? [String: Any])
  }

  /// What is at a path of keys.
  private func value<Value>(_ path: String..., of type: Value.Type = Value.self) throws -> Value {
    let found = path.reduce(document as Any?) { ($0 as? [String: Any])?[$1] }
    return try #require(found as? Value, "\(path)")
  }

  @Test func `it describes the pool's own routes, each of them`() throws {
    let paths: [String: [String: Any]] = try value("paths")
    let described = paths.flatMap { path, item in
      item.keys.filter { $0 != "parameters" }.map { "\($0.uppercased()) \(path)" }
    }
    let routes = Route.own.map { "\($0.method) \($0.pattern.replacing(/:([a-z]+)/) { "{\($0.output.1)}" })" }
    #expect(described.sorted() == routes.sorted())
  }

  @Test func `it lists the codes of errors`() throws {
    let sources = try ["Chat", "Dispatcher", "Gateway"].flatMap {
      try Repository.files(below: "Sources/\($0)", ".swift")
    }
    let written = try sources.flatMap { path in
      try Repository.text(path).matches(of: /status: [^"{}]*?code: "([a-z_]+)"/).map { String($0.output.1) }
    }
    #expect(Set(written).count >= 12)
    let all = written + GatewayRefusal.allCases.map(\.rawValue) + RequestFailure.allCases.map(\.rawValue)
    let listed: [String] = try value("components", "schemas", "ErrorCode", "enum")
    #expect(listed == Set(all).sorted())
  }

  @Test func `it describes each event`() throws {
    let written = try Repository.text("Sources/Chat/Events/ChatEvent.swift").matches(
      of: #/\{\\"type\\":\\"([a-z]+)\\"/#)
    let described: [String: String] = try value("components", "schemas", "Event", "discriminator", "mapping")
    #expect(described.keys.sorted() == written.map { String($0.output.1) }.sorted())
  }

  @Test func `it lists the files of the page`() throws {
    let parameters: [[String: Any]] = try value("paths", "/chat/{file}", "parameters")
    let listed = (parameters.first?["schema"] as? [String: Any])?["enum"] as? [String]
    let files = try FileManager.default.contentsOfDirectory(atPath: PackageRoot.path(to: "Sources/Chat/Page"))
    #expect(listed == files.filter { !$0.hasSuffix(".swift") }.sorted())
  }
}
