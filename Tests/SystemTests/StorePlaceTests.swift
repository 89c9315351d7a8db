import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Where the models are, and that instances get at them through their sandbox.
  @Suite(.serialized) struct StorePlaceTests {
    private static let user = "store-tests"
    private static let dropIn = InstalledPool.supervisor + ".d/models.conf"

    /// That the instance that serves has its models there, and that what is pulled gets there.
    /// - Parameter variable: OLLAMA_MODELS as the instance has it; nil: not at all.
    private func expect(
      _ pool: InstalledPool, in place: String, by source: String, variable: String?, pulls model: String,
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let status = try await pool.status(within: .seconds(30), "\(place) is used") { status in
        guard status.store?.path == place, status.store?.writer != nil, status.maxConcurrent == 1,
          let variables = try? pool.variables(of: status.running.first?.mainPID)
        else { return false }
        return status.running.count == 1
          && variables.first { $0.hasPrefix("OLLAMA_MODELS=") } == variable.map { "OLLAMA_MODELS=" + $0 }
      }
      #expect(status.store?.source == source, sourceLocation: sourceLocation)
      let answer = try await Pull.whole(model)
      #expect(answer.status == 200, "\(answer.text)", sourceLocation: sourceLocation)
      let models = try InstalledPool.models(in: place)
      #expect(models.contains { $0.contains(model) }, "\(models)", sourceLocation: sourceLocation)
      #expect(try await Conversation.chat(tokens: 2).isDone, sourceLocation: sourceLocation)
    }

    private func makeFolder(_ path: String) async throws {
      let command = try await run("install", ["-d", "-m", "755", "-o", Self.user, path])
      guard command.end == .exited(0) else { throw Failed("install -d \(path): \(command.errorOutput)") }
    }

    @Test func automaticIsWhatTheDaemonsAreToldThenOllamasServiceThenTheUsersHomeAlsoBelowHome() async throws {
      try await InstalledPool().installOnce()
      _ = try await run("useradd", ["--create-home", "--user-group", Self.user])
      let (told, installed) = ("/srv/models-of-the-daemons", "/home/models-of-ollama")
      for folder in [told, installed] { try await makeFolder(folder) }
      let service = OllamaService.unit(user: Self.user, environment: ["OLLAMA_MODELS=\(installed)"])
      let variable = "[Service]\nEnvironment=OLLAMA_MODELS=\(told)\n"
      // It is installed, and does not run.
      try await withUnitFile(OllamaService.name, service) {
        try await withUnitFile(Self.dropIn, variable) {
          try await InstalledPool.running("instance_user: \(Self.user)") { pool in
            try await expect(pool, in: told, by: "OLLAMA_MODELS", variable: told, pulls: "first")
          }
        }
        try await InstalledPool.running("instance_user: \(Self.user)") { pool in
          try await expect(pool, in: installed, by: "ollama.service", variable: installed, pulls: "second")
        }
      }
      try await InstalledPool.running("instance_user: \(Self.user)") { pool in
        let home = "/home/\(Self.user)/.ollama/models"
        try await expect(
          pool, in: home, by: "the home of the instances' user", variable: nil, pulls: "third")
        // Of the rest of the homes it has nothing to write.
        let process = try #require(try await pool.status().running.first?.mainPID)
        func touch(_ folder: String) async throws -> ProgramEnd {
          try await run(
            "nsenter", ["-t", "\(process)", "-m", "setpriv", "--reuid=\(Self.user)", "touch", folder + "/x"]
          ).end
        }
        #expect(try await touch("/home/\(Self.user)") == .exited(0))
        #expect(try await touch(installed) != .exited(0), "\(installed) is its user's, and not its own")
      }
    }

    @Test func aStoreOnAMountOfItsOwnBehindALinkIsUsedAndTheMountIsMadeForIt() async throws {
      try await InstalledPool().installOnce()
      let (point, link) = ("/srv/models-mount", "/srv/models-link")
      try FileManager.default.createDirectory(atPath: point, withIntermediateDirectories: true)
      _ = try await run("ln", ["-sfn", point, link])
      let user = try await run("id", ["-u", "ollama-pool-instance"]).output.trimmingCharacters(in: .newlines)
      let mount = "[Mount]\nWhat=tmpfs\nWhere=\(point)\nType=tmpfs\nOptions=mode=755,uid=\(user),size=64m\n"
      try await withUnitFile("srv-models\\x2dmount.mount", mount) {
        // Nobody has mounted it yet.
        try await InstalledPool.running("models_path: \(link)") { pool in
          _ = try await pool.ready(1)
          try await systemctl("reload", InstalledPool.supervisor)
          try await expect(pool, in: link, by: "models_path", variable: link, pulls: "mistral")
          #expect(try await run("findmnt", ["-no", "FSTYPE", "--target", link]).output == "tmpfs\n")
          let report = try await DoctorReport.read()
          #expect(
            report.findings.contains { $0.check == "models" && $0.text.contains("on tmpfs, 6") },
            "\(report.findings.filter { $0.check == "models" })")
        }
      }
    }
  }
}
