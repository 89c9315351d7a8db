import Foundation
import TestSupport
import Testing

extension SystemTests {
  @Suite(.serialized) struct JournalTests {
    @Test func theJournalTellsTheStoryOnceWithItsReasonsAndFieldsAndExplainsIt() async throws {
      try await InstalledPool.running("scaling: {max: 2, cold_start: 1s, window: 2s, shrink: 100%, idle_hold: 1s}") {
        pool in
        _ = try await pool.ready(1)
        try await pool.entry(containing: "gpu0 ready after")
        let before = try await pool.journalCursor()
        #expect(try await Conversation.chat(tokens: 60).isDone)
        try await pool.entry(within: .seconds(30), containing: "gpu1 has stopped")
        let catalog = try await JournalCatalog.installed()
        let story = try await pool.story(after: before)
        let supervisor = story.filter { $0.identifier == "ollama-pool-supervisor" }
        let dispatcher = story.filter { $0.identifier == "ollama-pool-dispatcher" }

        // What happened, in the words that explain it, and nothing else.
        #expect(
          supervisor.map { catalog.subject(of: $0) } == [
            "Another number of instances is wanted", "gpu1 is being started", "gpu1 runs and is not ready yet",
            "gpu1 is ready", "Another number of instances is wanted", "gpu1 is being stopped", "gpu1 has stopped",
          ])
        #expect(
          dispatcher.map { catalog.subject(of: $0) } == [
            "Instance gpu1 is registered", "Instance gpu1 answers", "Instance gpu1 takes requests",
            "Instance gpu1 is deregistered",
          ])
        for entry in story {
          let text = entry.messageID.flatMap { catalog.texts[$0] }
          #expect(text?.explanation.isEmpty == false, "\(entry)")
          #expect(entry.message.contains("gpu1") || entry.instance == nil, "\(entry)")
          #expect(entry.instance == (entry.message.contains("gpu1") ? "gpu1" : nil), "\(entry)")
          #expect(entry.gpu == entry.instance.map { _ in "GPU-00000001" }, "\(entry)")
        }
        try #require(supervisor.count == 7 && dispatcher.count == 4)
        let forms = [
          (supervisor[0], #"target 2 \(was 1\): .+; 1 ready, 1 request"#), (supervisor[1], "gpu1 starts"),
          (supervisor[2], #"gpu1 runs: process \d+ at 127\.0\.0\.1:11501, not ready yet"#),
          (supervisor[3], #"gpu1 ready after [\d.]+ s: unit [\d.]+ m?s, first answer [\d.]+ m?s"#),
          (supervisor[4], #"target 1 \(was 2\): .+; 2 ready, 0 requests"#),
          (supervisor[5], #"gpu1 stops: surplus, and empty for \d+ s"#),
          (dispatcher[0], #"gpu1 is registered at 127\.0\.0\.1:11501, with 1 slot"#),
          (dispatcher[2], "gpu1 takes requests; max_concurrent is now 2"),
        ]
        for (entry, form) in forms {
          #expect(try Regex(form).wholeMatch(in: entry.message) != nil, "\(entry) is no \(form)")
        }
        // Why, as a field of its own.
        for entry in [supervisor[0], supervisor[3], supervisor[4], supervisor[5]] {
          #expect(entry.reason.map { entry.message.hasSuffix($0) } == true, "\(entry), \(entry.reason ?? "nil")")
        }
        let explained = try await run("journalctl", ["-x", "--no-pager", "--after-cursor=\(before)"])
        #expect(explained.output.contains("Subject: gpu1 is being stopped\n"))
        #expect(explained.output.contains("The rule is: need = "))
      }
    }

    @Test func anInstancesJournalHasThePoolsEntriesAndItsOwnOutputAndNoOthers() async throws {
      try await InstalledPool.running(SystemTests.two) { pool in
        let status = try await pool.ready(2)
        let unit = try #require(status.instance("gpu1")?.unit)
        let start = try await pool.time("InactiveExitTimestampMonotonic", of: unit)
        let logs = try await pool.pool("logs", "--instance", "gpu1")
        #expect(logs.end == .exited(0))
        for text in ["gpu1 starts", "gpu1 is registered", "Listening on 127.0.0.1:11501"] {
          #expect(logs.output.contains(text), "\(text)")
        }
        #expect(!logs.output.contains("gpu0") && !logs.output.contains("127.0.0.1:11500"))
        let own = try await pool.entries(about: "gpu1").filter { $0.identifier == "ollama-gpu1" && $0.time >= start }
        #expect(own.contains { $0.message.contains("Listening on 127.0.0.1:11501") })
        #expect(own.allSatisfy { $0.gpu == "GPU-00000001" })
        // The pool's own story is without it.
        let all = try await pool.pool("logs", "-n", "1000").output
        #expect(all.contains("gpu1 starts") && !all.contains("Listening on 127.0.0.1:11501"))
      }
    }

    /// Of the daemons and the instances.
    private func said(in time: Duration, _ pool: InstalledPool) async throws -> [JournalEntry] {
      let before = try await pool.journalCursor()
      let begun = ContinuousClock.now
      try await eventually(within: time + .seconds(10), "\(time) have passed") { ContinuousClock.now - begun >= time }
      return try await pool.entries(after: before).filter {
        InstalledPool.identifiers.contains($0.identifier) || $0.instance != nil
      }
    }

    @Test func noEntryRepeatsEverySecondWhileNothingCanBeStartedAndNothingIsSaidInQuarantine() async throws {
      let settings = "ollama: /nonexistent/ollama\nrestarts: {pause: 1s, quarantine_after: 4, quarantine: 1h}\n"
      try await InstalledPool.running(settings + SystemTests.two) { pool in
        // Somebody waits all the time, so that there is always a reason to start something.
        let waiting = try await Conversation.ask(tokens: 2)
        try await pool.status("it waits") { $0.queueDepth == 1 }
        try await pool.status(within: .seconds(60), "all are in quarantine") { status in
          status.instances.count == 4 && status.instances.allSatisfy { $0.state == "quarantined" }
        }
        try await eventually("the journal tells of all") {
          try await pool.story().count { $0.message.contains(" is in quarantine for") } == 4
        }
        // Each GPU has its tries, and each try its entries, once.
        let story = try await pool.story()
        let counts = Dictionary(story.map { ($0.message, 1) }, uniquingKeysWith: +)
        #expect(counts.values.allSatisfy { $0 == 1 }, "\(counts.filter { $0.value > 1 })")
        #expect(try await said(in: .seconds(5), pool).isEmpty)
        await waiting.close()
      }
    }

    @Test func aDaemonThatCannotStartSaysWhyNowAndThenAndServesOnceItCan() async throws {
      let holder = try RunningProgram("python3", ["-m", "http.server", "11435", "--bind", "127.0.0.1"])
      try await eventually("the port is held") {
        (try? await HTTPProbe.exchange("GET", "/", port: 11435))?.status == 200
      }
      let begin = ContinuousClock.now
      try await InstalledPool.running { pool in
        let waiting = Task { try await Conversation.chat(tokens: 2) }
        try await eventually(within: .seconds(40), "it was tried three times") {
          try await pool.entries().count { $0.message.contains("cannot listen on 127.0.0.1:11435") } >= 3
        }
        #expect(ContinuousClock.now - begin > .seconds(9))
        holder.killTree()
        #expect(try await waiting.value.isDone)
      }
    }

    @Test func nothingIsSaidWhileNothingHappens() async throws {
      try await InstalledPool.running(SystemTests.two) { pool in
        _ = try await pool.ready(2)
        // The entries that told of it may come a moment after the status.
        try await eventually("both are told to be ready") {
          let supervisor = try await pool.story().filter { $0.identifier == "ollama-pool-supervisor" }
          return supervisor.count { $0.message.contains(" ready after ") } == 2
        }
        #expect(try await said(in: .seconds(5), pool).isEmpty)
      }
    }
  }
}
