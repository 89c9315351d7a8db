import Foundation
import TestSupport
import Testing

@testable import Systemd

@Suite(.enabled(if: SystemdHost.isAvailable, SystemdHost.remedy), .timeLimit(.minutes(1)))
struct SystemJournalTests {
  @Test func anEntryIsReadBackWithAllItsFields() async throws {
    let journal = Journal(identifier: "ollama-pool-test", destination: .journal)
    let messageID = "3f1c7a40f0a14c0c9b7f6d1f8f0a1b2c"
    journal.send(
      JournalEntry(
        "gpu2 is lost", priority: .error, messageID: messageID,
        fields: [
          (name: "POOL_INSTANCE", value: "gpu2"), (name: "POOL_REASON", value: "two\nlines"),
          (name: "bad name", value: "x"),
        ]))
    #expect(journal.flush())
    let entry = try await eventualValue("the entry is in the journal") {
      try await SystemdTests.journal(["-t", "ollama-pool-test", "MESSAGE_ID=\(messageID)"]).first
    }
    #expect(entry["MESSAGE"] == "gpu2 is lost")
    #expect(entry["PRIORITY"] == "3")
    #expect(entry["POOL_INSTANCE"] == "gpu2")
    #expect(entry["POOL_REASON"] == "two\nlines")
    #expect(entry["bad name"] == nil)
  }

  @Test func aThousandEntriesArriveInOrder() async throws {
    let journal = Journal(identifier: "ollama-pool-many", destination: .journal)
    for number in 1...1000 { journal.send(JournalEntry("entry \(number)")) }
    #expect(journal.flush(within: .seconds(10)))
    let entries = try await eventualValue("all entries are in the journal") {
      let entries = try await SystemdTests.journal(["-t", "ollama-pool-many"])
      return entries.count == 1000 ? entries : nil
    }
    #expect(entries.map { $0["MESSAGE"] } == (1...1000).map { "entry \($0)" })
  }

  @Test func thisTestsStandardErrorIsNoJournal() {
    #expect(Journal.Destination.automatic == .text(descriptor: 2))
  }
}
