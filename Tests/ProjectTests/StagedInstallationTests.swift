import Foundation
import TestSupport
import Testing

/// What `make install DESTDIR=…` lays out. It touches nothing outside its folder, and needs no privilege.
@Suite(.timeLimit(.minutes(5))) struct StagedInstallationTests {
  private let stage: TemporaryDirectory

  init() throws { stage = try TemporaryDirectory() }

  private func text(_ path: String) throws -> String {
    try String(contentsOfFile: stage.path(to: path), encoding: .utf8)
  }

  @Test func `everything lands where its reader looks for it`() async throws {
    try await Installing.make("install", "DESTDIR=\(stage.path)")
    let files = try Installing.files(below: stage.path)
    let units = try Repository.files(below: "units", ".service", ".socket", ".target", ".slice").map { $0.dropFirst(6) }
    let catalogs = try Repository.files(below: "units", ".catalog").map { $0.dropFirst(6) }
    let expected =
      ["bin/ollama-pool", "bin/ollama-simulator", "lib/ollama-pool/libSimulatedNVML.so"]
      + ["lib/sysusers.d/ollama-pool.conf", "lib/tmpfiles.d/ollama-pool.conf"]
      + units.map { "lib/systemd/system/\($0)" } + catalogs.map { "lib/systemd/catalog/\($0)" }
      + ["bash-completion/completions/ollama-pool", "zsh/site-functions/_ollama-pool"].map { "share/\($0)" }
      + ["share/fish/vendor_completions.d/ollama-pool.fish", "share/doc/ollama-pool/README.md"]
    #expect(Set(expected.map { "usr/local/\($0)" } + ["etc/ollama-pool/ollama-pool.yaml"]).subtracting(files) == [])
    #expect(units.count == 7)
    #expect(try text("usr/local/share/bash-completion/completions/ollama-pool").contains("_ollama"))
    let mode = try FileManager.default.attributesOfItem(atPath: stage.path(to: "etc/ollama-pool/ollama-pool.yaml"))
    #expect(mode[.posixPermissions] as? Int == 0o640)
  }

  @Test(arguments: [("/usr", "usr/lib"), ("/opt/pool", "usr/local/lib")])
  func `units name the programs of their prefix, and lie where systemd looks`(prefix: String, library: String)
    async throws
  {
    try await Installing.make("install", "DESTDIR=\(stage.path)", "PREFIX=\(prefix)")
    let service = try text("\(library)/systemd/system/ollama-pool-dispatcher.service")
    #expect(service.contains("ExecStart=\(prefix)/bin/ollama-pool dispatcher "))
    #expect(!service.contains("/usr/local"))
    #expect(FileManager.default.isExecutableFile(atPath: stage.path(to: "\(prefix)/bin/ollama-pool")))
  }

  @Test(arguments: [
    ("relative", "absolute path"), ("/opt/a|b", "letters, digits"), ("/opt/a&b", "letters, digits"),
    ("/opt/a b", "letters, digits"), ("/opt/100%", "letters, digits"), ("/home/eva", "can't see their programs"),
    ("/root", "can't see their programs"), ("/opt/../tmp/x", "can't see their programs"),
  ])
  func `a prefix that the units could not use is refused, and nothing is laid out`(prefix: String, words: String)
    async throws
  {
    for arguments in [[], ["uninstall"]] {
      let result = try await run(
        PackageRoot.path(to: "scripts/install.sh"), arguments,
        environment: ["PREFIX": prefix, "DESTDIR": stage.path, "PURGE": nil, "PROGRAMS": nil])
      #expect(result.end == .exited(64))
      #expect(result.errorOutput.contains(words) && result.errorOutput.contains(prefix), "\(result.errorOutput)")
    }
    #expect(try Installing.files(below: stage.path) == [])
  }

  @Test func `an edited configuration stays, and the new one is put beside it`() async throws {
    try await Installing.make("install", "DESTDIR=\(stage.path)")
    try await Installing.make("install", "DESTDIR=\(stage.path)")
    #expect(!FileManager.default.fileExists(atPath: stage.path(to: "etc/ollama-pool/ollama-pool.yaml.new")))

    try stage.write("slots: 2\n", to: "etc/ollama-pool/ollama-pool.yaml")
    let said = try await Installing.make("install", "DESTDIR=\(stage.path)")
    #expect(try text("etc/ollama-pool/ollama-pool.yaml") == "slots: 2\n")
    #expect(try text("etc/ollama-pool/ollama-pool.yaml.new") == Repository.text("config/ollama-pool.yaml"))
    #expect(said.contains("ollama-pool.yaml.new"))
  }

  @Test func `uninstalling leaves the configuration, and nothing with PURGE`() async throws {
    try await Installing.make("install", "DESTDIR=\(stage.path)")
    try await Installing.make("uninstall", "DESTDIR=\(stage.path)")
    #expect(try Installing.files(below: stage.path) == ["etc/ollama-pool/ollama-pool.yaml"])
    try await Installing.make("uninstall", "DESTDIR=\(stage.path)", "PURGE=1")
    #expect(try Installing.files(below: stage.path) == [])
  }

  @Test func `help lists every target`() async throws {
    let help = try await run("make", ["--no-print-directory", "-C", PackageRoot.path], environment: ["MAKEFLAGS": nil])
    let targets = try Repository.text("Makefile").matches(of: /(?m)^([a-z]+):/).map { String($0.1) }
    #expect(Set(targets).isSuperset(of: ["run", "test", "build", "install", "uninstall", "dist", "bench", "lint"]))
    for target in targets { #expect(help.output.contains("make \(target) "), "\(target)") }
  }
}
