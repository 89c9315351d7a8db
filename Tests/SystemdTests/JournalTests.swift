import Foundation
import Glibc
import TestSupport
import Testing

@testable import Systemd

@Suite struct JournalTests {
  @Test func anEntryBecomesFieldsAndInvalidNamesAreLeftOut() {
    let entry = JournalEntry(
      "grew to 4", priority: .notice, messageID: "3f1c7a40f0a14c0c9b7f6d1f8f0a1b2c",
      fields: [
        (name: "POOL_GPU", value: "GPU-1\nsecond line"), (name: "pool", value: "x"), (name: "_PID", value: "1"),
        (name: "9A", value: "x"), (name: "A B", value: "x"), (name: "", value: "x"), (name: "MESSAGE", value: "forged"),
        (name: String(repeating: "A", count: 65), value: "x"),
      ])
    #expect(
      entry.encoded(identifier: "ollama-pool-supervisor").map { String(decoding: $0, as: UTF8.self) } == [
        "MESSAGE=grew to 4", "PRIORITY=5", "SYSLOG_IDENTIFIER=ollama-pool-supervisor",
        "MESSAGE_ID=3f1c7a40f0a14c0c9b7f6d1f8f0a1b2c", "POOL_GPU=GPU-1\nsecond line",
      ])
  }

  @Test func longValuesAreCut() {
    let entry = JournalEntry(String(repeating: "m", count: 100_000))
    #expect(entry.encoded(identifier: "x")[0].count == "MESSAGE=".utf8.count + JournalEntry.longestValue)
    #expect(entry.line(identifier: "x", time: "t").utf8.count < JournalEntry.longestValue + 100)
  }

  @Test func aLineOfTextCannotBeForgedByAMessage() {
    let entry = JournalEntry("model \u{1B}[31mred\r\n2026-01-01 err pool: forged", priority: .warning)
    #expect(
      entry.line(identifier: "pool", time: "T")
        == "T warning pool: model \u{FFFD}[31mred\u{FFFD}\n    2026-01-01 err pool: forged\n")
  }

  @Test func linesGoToTheDescriptorInOrderWithTimeAndPriority() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path(to: "log")
    let descriptor = open(path, O_CREAT | O_WRONLY, 0o600)
    defer { close(descriptor) }
    let journal = Journal(identifier: "ollama-pool", destination: .text(descriptor: descriptor))
    for number in 1...500 { journal.send(JournalEntry("entry \(number)", priority: .error)) }
    #expect(journal.flush())
    let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
    #expect(lines.count == 500)
    for (number, line) in zip(1..., lines) {
      let form = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4} err ollama-pool: entry (\d+)/
      #expect(line.wholeMatch(of: form).map { Int($0.1) } == number)
    }
  }

  @Test func aJournalThatStandsStillHoldsUpNobodyAndWhatIsLostIsCounted() async throws {
    var ends: [Int32] = [-1, -1]
    try #require(pipe(&ends) == 0)
    let (reading, writing) = (ends[0], ends[1])
    defer { close(reading) }
    let journal = Journal(
      identifier: "p", destination: .text(descriptor: writing), limit: 10, byteLimit: 1 << 20)
    let begun = ContinuousClock.now
    for number in 1...20_000 { journal.send(JournalEntry("entry \(number) " + String(repeating: "x", count: 100))) }
    #expect(ContinuousClock.now - begun < .seconds(5))
    #expect(journal.flush(within: .milliseconds(20)) == false)

    let reader = Task.detached {
      var text: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while case let count = read(reading, &buffer, buffer.count), count > 0 { text += buffer[..<count] }
      return String(decoding: text, as: UTF8.self)
    }
    #expect(journal.flush(within: .seconds(10)))
    close(writing)
    let lines = await reader.value.split(separator: "\n")
    let dropped = lines.compactMap { $0.firstMatch(of: /(\d+) journal entries were dropped/).flatMap { Int($0.1) } }
    let written = lines.count { $0.contains("entry ") }
    #expect(dropped.reduce(0, +) + written == 20_000)
    #expect(lines.last?.contains("entry 20000 ") == true)
  }

  @Test func theBacklogIsBoundedInBytesToo() {
    var backlog = JournalBacklog(limit: 100, byteLimit: 1000)
    for number in 0..<10 {
      backlog.append(.init(entry: JournalEntry("\(number)" + String(repeating: "x", count: 235)), time: ""))
    }
    #expect(backlog.takeDropped() == 7)
    #expect(backlog.takeDropped() == 0)
    #expect(backlog.removeFirst()?.entry.message.hasPrefix("7") == true)
    backlog.append(.init(entry: JournalEntry(String(repeating: "y", count: 5000)), time: ""))
    #expect(backlog.removeFirst()?.entry.message.count == 5000)
    #expect(backlog.removeFirst() == nil)
  }

  @Test func standardErrorIsTheJournalOnlyIfTheVariableNamesThatVeryFile() throws {
    let directory = try TemporaryDirectory()
    let descriptor = open(try directory.write("", to: "a"), O_RDONLY)
    defer { close(descriptor) }
    var status = stat()
    try #require(fstat(descriptor, &status) == 0)
    #expect(Journal.Destination.isJournal(descriptor, stream: "\(status.st_dev):\(status.st_ino)"))
    #expect(!Journal.Destination.isJournal(descriptor, stream: "\(status.st_dev):\(status.st_ino + 1)"))
    #expect(!Journal.Destination.isJournal(descriptor, stream: "nonsense"))
    #expect(!Journal.Destination.isJournal(descriptor, stream: nil))
  }
}
