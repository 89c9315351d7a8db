import CSystemd
import Glibc

/// Reads what a unit wrote to the journal.
package enum JournalReader {
  /// The last lines that the last activation of a unit wrote, newest first: empty where there is no journal, or none
  /// that the caller may read. Reads files, so it may take some milliseconds.
  ///
  /// Only journald sets the fields that are looked for. It learns the invocation from a link that systemd removes when
  /// the unit ends: the words of a program that ended at once carry its process alone.
  package static func lastMessages(of unit: UnitState, limit: Int = 20) -> [String] {
    var opened: OpaquePointer?
    guard sd_journal_open(&opened, Int32(SD_JOURNAL_LOCAL_ONLY)) >= 0, let journal = opened else { return [] }
    defer { sd_journal_close(journal) }
    guard match(unit, in: journal), sd_journal_seek_tail(journal) >= 0 else { return [] }
    var messages: [String] = []
    while messages.count < limit, sd_journal_previous(journal) > 0 {
      if let message = message(of: journal) { messages.append(message) }
    }
    return messages
  }

  /// - Returns: whether the journal now tells nothing but what `unit` wrote.
  private static func match(_ unit: UnitState, in journal: OpaquePointer) -> Bool {
    func add(_ field: String) -> Bool { sd_journal_add_match(journal, field, 0) >= 0 }
    guard let invocation = unit.invocationID, add("_SYSTEMD_INVOCATION_ID=\(invocation)") else { return false }
    guard let process = unit.execMainPID, let boot = bootID() else { return true }
    return sd_journal_add_disjunction(journal) >= 0
      && add("_BOOT_ID=\(boot)") && add("_SYSTEMD_UNIT=\(unit.name)") && add("_PID=\(process)")
  }

  private static func bootID() -> String? {
    var id = sd_id128_t()
    guard sd_id128_get_boot(&id) >= 0 else { return nil }
    return withUnsafeBytes(of: id) { UnitState.hexadecimal(Array($0)) }
  }

  private static func message(of journal: OpaquePointer) -> String? {
    var data: UnsafeRawPointer?
    var length = 0
    guard sd_journal_get_data(journal, "MESSAGE", &data, &length) >= 0, let data else { return nil }
    let field = UnsafeRawBufferPointer(start: data, count: min(length, JournalEntry.longestValue))
    return String(decoding: field.dropFirst("MESSAGE=".utf8.count), as: UTF8.self)
  }
}
