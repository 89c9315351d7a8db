import Foundation
import TestSupport
import Testing
import Varlink

@Suite(
  "Interoperability with the PyPI package varlink",
  .enabled("the Python package varlink is missing: python3 -m venv .venv && .venv/bin/pip install varlink") {
    await PythonEnvironment.isReady(for: "varlink")
  })
struct InteroperabilityTests {
  private struct ScriptFailed: Error, CustomStringConvertible { let description: String }

  /// The lines that the script prints.
  private func script(_ arguments: String...) async throws -> [String] {
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "interoperability.py")
    let result = try await run(PythonEnvironment.interpreter, [script.path] + arguments)
    if result.end != .exited(0) { throw ScriptFailed(description: "\(result.end): \(result.errorOutput)") }
    return result.output.split(separator: "\n").map(String.init)
  }

  @Test("it introspects the service and parses every definition")
  func introspect() async throws {
    try await withServer { fixture in
      let lines = try await script("introspect", "unix:\(fixture.path)")
      #expect(
        lines == [
          #"{"interfaces": ["org.varlink.service", "org.example.Test"], "product": "example", "#
            + #""url": "https://example.org", "vendor": "Example", "version": "1.2.3"}"#,
          "org.varlink.service ExpectedMore GetInfo GetInterfaceDescription InterfaceNotFound InvalidParameter "
            + "MethodNotFound MethodNotImplemented PermissionDenied",
          "org.example.Test Count Drop Echo Forbidden Hold Instance Later Note Refuse Refused Slots Unspeakable "
            + "WhoAmI",
        ])
    }
  }

  @Test("it calls, streams, and gets the errors as it knows them")
  func talk() async throws {
    try await withServer { fixture in
      let lines = try await script("talk", "unix:\(fixture.path)")
      #expect(
        lines == [
          "echo True",
          "slots 5",
          "count [1, 2, 3, 4]",
          #"org.example.Test.Refused {"text": "no"}"#,
          "org.varlink.service.PermissionDenied {}",
          "org.varlink.service.ExpectedMore {}",
          #"org.varlink.service.MethodNotImplemented {"method": "org.example.Test.Drop"}"#,
          #"org.varlink.service.InvalidParameter {"parameter": "to"}"#,
          "again again",
        ])
      #expect(fixture.example.texts.contains("noted"))
    }
  }

  @Test("it parses every definition in the sources")
  func definitions() async throws {
    let sources = PackageRoot.path(to: "Sources")
    let files = try FileManager.default.subpathsOfDirectory(atPath: sources).filter { $0.hasSuffix(".varlink") }
    for file in files {
      let name = URL(fileURLWithPath: file).deletingPathExtension().lastPathComponent
      let lines = try await script("parse", sources + "/" + file)
      #expect(lines.count == 1 && lines[0].hasPrefix(name + " "))
    }
    let folder = try TemporaryDirectory()
    let bad = try folder.write("interface org.example.Bad\nmethod lower() -> ()\n", to: "bad.varlink")
    await #expect(throws: ScriptFailed.self) { _ = try await script("parse", bad) }
  }
}
