import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Who may change the models, and who may reach the network for it.
  @Suite(.serialized) struct StoreTests {
    private static let noPrune = "OLLAMA_NOPRUNE=1"

    private func unit(_ id: String) -> String { "ollama-instance-\(id).service" }

    @Test func aStoreOfOthersIsReadAndAPullIntoItIsRefusedWithTheRemedyWhichHelps() async throws {
      try await InstalledPool().installOnce()
      let store = "/home/store-of-others"
      try await fill(store, as: "daemon")
      let models = try InstalledPool.models(in: store).sorted()
      try await InstalledPool.running("models_path: \(store)") { pool in
        let status = try await pool.ready(1)
        let answer = try await Pull.whole("mistral")
        #expect(answer.status == 403, "\(answer.status)")
        #expect(
          answer.text.contains("the model store \(store) (owned by daemon, rwxr-xr-x) is not the pool's"),
          "\(answer.text)")
        #expect(answer.text.contains("set the key instance_user to its owner"), "\(answer.text)")
        #expect(try await Conversation.chat(tokens: 2).isDone)
        #expect(try pool.variables(of: status.running.first?.mainPID).contains(Self.noPrune))
        #expect(try await pool.networks() == [])
        #expect(try !models.isEmpty && InstalledPool.models(in: store).sorted() == models)
        // The remedy, by another instance: what one may write is fixed when it starts.
        _ = try await run("chown", ["-R", "ollama-pool-instance", store])
        try await systemctl("reload", InstalledPool.supervisor)
        try await pool.status("another instance writes to it") { now in
          now.store?.refusal == nil && now.store?.writer != nil && now.maxConcurrent == 1
            && now.running.allSatisfy { $0.mainPID != status.running.first?.mainPID }
        }
        #expect(try await Pull.whole("mistral").status == 200)
        #expect(try InstalledPool.models(in: store).contains { $0.contains("mistral") })
      }
    }

    /// Lets a server of somebody's make the models that there are from the start.
    private func fill(_ store: String, as user: String) async throws {
      _ = try await run("install", ["-d", "-m", "755", "-o", user, store])
      let server = try RunningProgram(
        "setpriv",
        [
          "--reuid=\(user)", "--regid=\(user)", "--clear-groups", "env", "HOME=\(store)", "OLLAMA_MODELS=\(store)",
          "OLLAMA_HOST=127.0.0.1:11700", "ollama", "serve",
        ])
      try await eventually("it serves") {
        try await HTTPProbe.exchange("GET", "/api/tags", port: 11700).status == 200
      }
      try await server.stop()
    }

    @Test func oneInstanceWritesAndAloneIsOnTheNetworkAndAnotherTakesOverWhenItIsGone() async throws {
      try await InstalledPool.running("placements: [{gpus: [0]}, {gpus: [1]}]\n" + SystemTests.two) { pool in
        // Whoever starts beside another one tidies nothing up, which may be what is being pulled.
        let tidying = try await pool.ready(2).running.filter { instance in
          try !pool.variables(of: instance.mainPID).contains(Self.noPrune)
        }
        #expect(tidying.count <= 1)
        let first = try await eventualValue("one has a way out") {
          let open = try await pool.networks()
          return open.count == 1 ? open.first : nil
        }
        let (writer, other) = first == unit("gpu0") ? ("gpu0", "gpu1") : ("gpu1", "gpu0")
        #expect(try await Pull.whole("mistral").status == 200)

        let before = try await pool.mainPID(of: unit(writer))
        try await pool.kill("SIGKILL", unit(writer))
        // Looked at all the time, and never seen with two.
        try await eventually(within: .seconds(20), "\(other) has taken over, and \(writer) is back without a way out") {
          let open = try await pool.networks()
          if open.count > 1, try await pool.networks().isSuperset(of: open) { Issue.record("on the network: \(open)") }
          let process = try await pool.mainPID(of: unit(writer))
          return open == [unit(other)] && process != 0 && process != before
        }
        try await pool.entry(containing: "\(other) changes the model store from now on")
        #expect(try await Pull.whole("qwen").status == 200)

        // One that is stopped hands over first.
        _ = try await pool.ready(2)
        #expect(try await pool.pool("drain", other).end == .exited(0))
        try await eventually(within: .seconds(20), "\(writer) has it again") {
          guard try await pool.networks() == [unit(writer)] else { return false }
          return try await pool.instanceUnits() == [unit(writer)]
        }
        #expect(try await Pull.whole("gemma").status == 200)
      }
    }

    @Test func aShrinkTakesTheOthersFirstAndTheWriterOnceItsPullHasEnded() async throws {
      try await InstalledPool.running(environment: ["OLLAMA_SIMULATOR_PULL_SECONDS": "8"]) { pool in
        _ = try await pool.ready(1)
        #expect(try await pool.pool("scale", "--fixed", "2").end == .exited(0))
        _ = try await pool.ready(2)
        try await makeTheYoungerOneWrite(pool)

        let pull = try await Pull.begun("mistral")
        #expect(try await pool.pool("scale", "--fixed", "1").end == .exited(0))
        try await pool.status("the older one goes") { $0.running.map(\.id) == ["gpu1"] }
        #expect(try await pool.requests().map(\.instance) == ["gpu1"], "the pull is still under way")
        #expect(try await pool.pool("scale", "--fixed", "0").end == .exited(0))
        try await pool.status("none is wanted") { $0.desired == 0 }
        let lines = try await pull.lines()
        #expect(Pull.isWhole(lines), "\(lines.suffix(1))")
        try await pool.status("the writer goes, too") { $0.running.isEmpty }
        let stop = try await pool.entry(containing: "gpu1 stops")
        #expect(stop.time > pull.lastSeenUnderWay, "\(stop)")
        #expect(try InstalledPool.models(in: InstalledPool.usualStore).contains { $0.contains("mistral") })
      }
    }

    /// gpu0 drains, so that gpu1 takes over, and goes on before it has served what it has.
    private func makeTheYoungerOneWrite(_ pool: InstalledPool) async throws {
      try await pool.status("gpu0 writes") { $0.store?.writer == "gpu0" }
      let streams = [try await Conversation.begun(tokens: 5_000), try await Conversation.begun(tokens: 5_000)]
      try await pool.requests("each has one") { Set($0.map(\.instance)) == ["gpu0", "gpu1"] ? $0 : nil }
      #expect(try await pool.pool("drain", "gpu0").end == .exited(0))
      try await pool.status("gpu1 writes") { $0.store?.writer == "gpu1" }
      #expect(try await pool.pool("uncordon", "gpu0").end == .exited(0))
      for stream in streams { await stream.close() }
      try await pool.status("gpu0 goes on") { $0.maxConcurrent == 2 && $0.inFlight == 0 }
    }

    @Test func aWriterThatDrainsEndsItsPullAndThenTheNextOneWritesNeverBoth() async throws {
      let environment = ["OLLAMA_SIMULATOR_PULL_SECONDS": "8", "OLLAMA_DEBUG": "1"]
      try await InstalledPool.running("placements: [{gpus: [0]}, {gpus: [1]}]", environment: environment) { pool in
        _ = try await pool.ready(1)
        let (writer, other) = ("gpu0", "gpu1")
        try await pool.status("gpu0 writes") { $0.store?.writer == writer }
        let first = try await Pull.begun("mistral")
        // What makes the supervisor hear that the other is ready tells it of the pull, too.
        #expect(try await pool.pool("scale", "--fixed", "2").end == .exited(0))
        try await pool.entry(containing: "gpu1 ready")
        #expect(try await pool.pool("drain", writer).end == .exited(0))
        try await pool.status("the dispatcher knows it") { $0.maxConcurrent == 1 }
        // Whoever asks now waits for the one that writes next.
        let second = try await Pull.asked("qwen")

        var looks: [(at: Duration, writers: Set<String?>)] = []
        try await eventually(within: .seconds(30), "the first pull has ended") {
          let writers = try await Set([pool.status().store?.writer.map(unit)]).union(pool.networks())
          let look = MonotonicTime.now
          guard try await pool.requests().contains(where: { $0.instance == writer }) else { return true }
          looks.append((look, writers))
          return false
        }
        #expect(looks.count > 3 && looks.allSatisfy { $0.writers == [unit(writer)] }, "\(looks)")
        for pull in [first, second] {
          let lines = try await pull.lines()
          #expect(Pull.isWhole(lines), "\(lines.suffix(1))")
        }
        try await pool.status("the one that drained has gone") {
          $0.running.map(\.id) == [other] && $0.store?.writer == other
        }
        func pulls(_ id: String) async throws -> [JournalEntry] {
          try await pool.entries(about: id).filter { $0.message.contains("path=/api/pull") }
        }
        #expect(try await pulls(writer).count == 1)
        let next = try await pulls(other)
        let lastLook = try #require(looks.last?.at)
        #expect(next.count == 1 && next.allSatisfy { $0.time > max(lastLook, first.lastSeenUnderWay) }, "\(next)")
      }
    }

    @Test func onlyWhoIsAloneWithTheStoreTidiesItUpAndNothingIsPulledWhileAnOllamaServiceRunsOnIt() async throws {
      let store = "/srv/store-for-two"
      _ = try await run("install", ["-d", "-m", "755", "-o", "ollama-pool-instance", store])
      try await InstalledPool.running("models_path: \(store)") { pool in
        let alone = try await pool.ready(1)
        #expect(try !pool.variables(of: alone.running.first?.mainPID).contains(Self.noPrune))
        #expect(try await pool.pool("scale", "--fixed", "2").end == .exited(0))
        let both = try await pool.ready(2)
        #expect(try pool.variables(of: both.instance("gpu1")?.mainPID).contains(Self.noPrune))
        #expect(try await Pull.whole("mistral").status == 200)

        let service = OllamaService.unit(
          user: "ollama-pool-instance", environment: ["OLLAMA_MODELS=\(store)", "HOME=\(store)"])
        try await withUnitFile(OllamaService.name, service) {
          try await systemctl("enable", "--quiet", "--now", OllamaService.name)
          // It looks every half minute by itself.
          try await systemctl("reload", InstalledPool.supervisor)
          let told = "ollama.service runs on the model store \(store) as well"
          let status = try await pool.status("it is seen") { $0.store?.refusal?.contains(told) == true }
          #expect(status.store?.writer == nil)
          // A store that is shared costs no instance.
          #expect(status.running.map(\.mainPID) == both.running.map(\.mainPID))
          let refused = try await Pull.whole("qwen")
          #expect(refused.status == 403 && refused.text.contains(told), "\(refused.text)")
          #expect(refused.text.contains("`systemctl disable --now ollama.service`"), "\(refused.text)")
          let beside = try await startAlone(pool)
          #expect(try pool.variables(of: beside).contains(Self.noPrune))
          #expect(try await Conversation.chat(tokens: 2).isDone)

          try await systemctl("disable", "--quiet", "--now", OllamaService.name)
          try await systemctl("reload", InstalledPool.supervisor)
          try await pool.status("one writes again") { $0.store?.refusal == nil && $0.store?.writer != nil }
          #expect(try await Pull.whole("qwen").status == 200)
          #expect(try await !pool.variables(of: startAlone(pool)).contains(Self.noPrune))
        }
        let names = try InstalledPool.models(in: store)
        for model in ["mistral", "qwen"] { #expect(names.contains { $0.contains(model) }, "\(names)") }
      }
    }

    /// All stop, and one is started.
    /// - Returns: its process.
    private func startAlone(_ pool: InstalledPool) async throws -> Int32? {
      #expect(try await pool.pool("scale", "--fixed", "0").end == .exited(0))
      try await pool.status("none runs") { $0.running.isEmpty }
      #expect(try await pool.pool("scale", "--fixed", "1").end == .exited(0))
      return try await pool.ready(1).running.first?.mainPID
    }
  }
}
