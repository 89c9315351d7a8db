import Glibc
import PoolCore
import Systemd

/// What /proc tells of a process. Each call reads a file of a few hundred bytes, some microseconds: with a thousand
/// processes on the GPUs all of it is done in some hundredths of a second.
enum ProcessFiles {
  enum Membership: Equatable {
    case unit(InstanceID, ofUserManager: Bool)
    case noInstance
  }

  private static let longestCommand = 64

  /// The instance's unit that a process is in; nil where there is no such process, or it can't be seen.
  static func unit(of processID: pid_t, root: String = "/proc") -> Membership? {
    withFile("\(root)/\(processID)/cgroup") { bytes in
      // "4:memory:/system.slice/…" each: one line, or with cgroups of the first version several that say the same.
      for line in bytes.split(separator: UInt8(ascii: "\n")) {
        let parts = line.split(separator: UInt8(ascii: "/"))
        for (index, part) in parts.enumerated() where part.starts(with: InstanceUnit.namePrefix.utf8) {
          guard let id = InstanceUnit.id(ofUnit: String(decoding: part, as: UTF8.self)) else { continue }
          return .unit(id, ofUserManager: parts[..<index].contains { $0.starts(with: "user@".utf8) })
        }
      }
      return .noInstance
    }
  }

  /// What keeps a process running; nil where nothing does, or it can't be seen.
  static func owner(of processID: pid_t, root: String = "/proc") -> ControlGroupOwner? {
    withFile("\(root)/\(processID)/cgroup") { ControlGroupOwner(controlGroups: String(decoding: $0, as: UTF8.self)) }
      ?? nil
  }

  /// The words of its command line, those at its beginning where it is longer than a page.
  static func arguments(of processID: pid_t, root: String = "/proc") -> [String] {
    withFile("\(root)/\(processID)/cmdline") { bytes in
      bytes.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    } ?? []
  }

  /// The parent of a process; nil where there is no such process, or it can't be seen.
  static func parent(of processID: pid_t, unlessZombie: Bool = false, root: String = "/proc") -> pid_t? {
    // "PID (name) state PPID …", where the name may hold anything.
    withFile("\(root)/\(processID)/stat") { bytes in
      guard let nameEnd = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
      let fields = bytes[nameEnd...].dropFirst().split(separator: UInt8(ascii: " "), maxSplits: 2)
      if unlessZombie, fields.first?.elementsEqual("Z".utf8) == true { return nil }
      return fields.count >= 2 ? pid_t(String(decoding: fields[1], as: UTF8.self)) : nil
    } ?? nil
  }

  /// The name of the program that a process runs; nil where there is no such process, or it can't be seen.
  static func command(of processID: pid_t, root: String = "/proc") -> String? {
    // A kernel thread has no arguments, a zombie neither, and any process may have cleared its own.
    let argument = withFile("\(root)/\(processID)/cmdline") { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    guard let argument else { return nil }
    if let name = printable(program(argument)) { return name }
    return kernelName(of: processID, root: root)
  }

  /// What the kernel calls a process: the first 15 characters of its program's file, or what its main thread called
  /// itself. Not in the process's memory, so that it is told of one that hangs as well; nil as ``command(of:root:)``.
  static func kernelName(of processID: pid_t, root: String = "/proc") -> String? {
    withFile("\(root)/\(processID)/comm") { printable(String(decoding: $0, as: UTF8.self)) ?? "?" }
  }

  /// Of "/opt/My App/train" the last part, and of a title that a program gave itself, "nginx: worker process", the
  /// first word.
  private static func program(_ argument: String) -> Substring {
    let word = argument.hasPrefix("/") ? argument[...] : argument.prefix { $0 != " " && $0 != ":" }
    return word.split(separator: "/").last ?? ""
  }

  private static func printable(_ text: some StringProtocol) -> String? {
    let characters = text.unicodeScalars.lazy.filter { !$0.properties.generalCategory.isHidden }
    var name = String.UnicodeScalarView()
    for character in characters.prefix(longestCommand) { name.append(character) }
    return name.isEmpty ? nil : String(name)
  }

  /// The beginning of a file of /proc, on the stack; nil where it can't be read.
  private static func withFile<Value>(_ path: String, _ read: (UnsafeBufferPointer<UInt8>.SubSequence) -> Value)
    -> Value?
  {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4096) { buffer in
      let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      return count < 0 ? nil : read(UnsafeBufferPointer(buffer)[..<count])
    }
  }
}

extension Unicode.GeneralCategory {
  /// What a terminal would obey, or not show.
  fileprivate var isHidden: Bool {
    switch self {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: true
    default: false
    }
  }
}
