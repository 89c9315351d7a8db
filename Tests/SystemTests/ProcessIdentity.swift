import Foundation

/// A process that is told from a later one with the same number.
struct ProcessIdentity: Hashable, CustomStringConvertible {
  let processID: Int32
  /// In clock ticks since the machine's start.
  let startTime: UInt64

  /// nil where there is no such process.
  init?(_ processID: Int32) {
    // proc(5): the name in parentheses may have any characters; the start time is the 20th field after it.
    guard let text = try? String(contentsOfFile: "/proc/\(processID)/stat", encoding: .utf8),
      let end = text.lastIndex(of: ")")
    else { return nil }
    let fields = text[end...].split(separator: " ")
    guard fields.count > 20, let startTime = UInt64(fields[20]) else { return nil }
    self.processID = processID
    self.startTime = startTime
  }

  var exists: Bool { ProcessIdentity(processID) == self }

  var description: String { "\(processID), started at tick \(startTime)" }
}

extension InstalledPool {
  /// All in the unit's control group, the children's children too.
  func processes(ofUnit unit: String) async throws -> Set<ProcessIdentity> {
    let group = "/sys/fs/cgroup" + (try await property("ControlGroup", of: unit))
    let text = try String(contentsOfFile: group + "/cgroup.procs", encoding: .utf8)
    return Set(text.split(separator: "\n").compactMap { Int32($0) }.compactMap { ProcessIdentity($0) })
  }
}
