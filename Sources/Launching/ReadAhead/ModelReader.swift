import CLinux
import Glibc
import PoolCore

/// The process that reads models' files into the page cache before instances load them: as the user that instances run
/// as, who may read them, and yielding to everybody at the CPU and the disk.
///
/// It is the pool's own executable with a hidden subcommand:
///
///     ollama-pool model-reader STORE
///
/// - Standard input and output: a socket to the pool. Models' names come from there, a line each, until its end; a
///   ``ReaderMessage`` each second, and one for each model, goes there. It ends when nobody listens any more.
///
/// What is in memory already is told at once; the rest is read one model after the other, in the order of the names. A
/// model that would not fit into the memory that is free is left out: its beginning would be gone again before it is
/// needed, and with it what others have there.
package struct ModelReader {
  package static let subcommand = "model-reader"
  /// Of the memory that the kernel could free, the part that may be filled.
  private static let mostOfMemory = 0.7
  private static let mostNames = 1024

  private struct Model {
    var name: String
    var files: [(path: String, missing: [Int])] = []
    var size = 0
    /// Bytes that are not in memory.
    var missing = 0
  }

  /// Becomes a reader if the arguments ask for it, and does not return then. To be called first thing in the program's
  /// `main`.
  package static func takeOver(ifAskedBy arguments: [String] = CommandLine.arguments) {
    guard arguments.count > 1, arguments[1] == subcommand else { return }
    guard arguments.count == 3, arguments[2].hasPrefix("/") else {
      let usage = "usage: \(subcommand) STORE (started by the pool, not by people)\n"
      write(STDERR_FILENO, usage, usage.utf8.count)
      exit(64)
    }
    // Whoever ordered it is gone: so is its purpose.
    signal(SIGPIPE, SIG_DFL)
    clinux_set_name("ollama-pool")
    clinux_yield_to_others()
    run(store: arguments[2])
    exit(0)
  }

  private static func run(store: String) {
    var models: [Model] = []
    while models.count < mostNames, let name = readLine() {
      guard let parsed = ModelName(name), let files = ModelFiles(of: parsed, in: store) else {
        tell(name, problem: "the store has no such model")
        continue
      }
      var model = Model(name: name)
      if let problem = look(at: files, of: &model) {
        tell(name, size: model.size, problem: problem)
      } else if model.missing == 0 {
        tell(name, size: model.size)
      } else {
        models.append(model)
      }
    }
    var voice = Voice()
    for model in models { read(model, &voice) }
  }

  /// How large it is, and what of it is missing.
  /// - Returns: why it can't be read; nil where it can.
  private static func look(at files: ModelFiles, of model: inout Model) -> String? {
    for path in files.paths {
      guard let file = CachedFile(path) else { return "\(path): \(Errno.last.text)" }
      let missing = file.missingPieces()
      model.files.append((path, missing))
      model.size += file.size
      model.missing += missing.reduce(0) { $0 + file.bytes(of: $1).count }
    }
    return nil
  }

  private static func read(_ model: Model, _ voice: inout Voice) {
    let free = Int(Double(availableMemory ?? .max / 2) * mostOfMemory)
    guard model.missing <= free else {
      return tell(
        model.name, size: model.size,
        problem:
          "its \(byteText(model.missing)) would take more than the \(byteText(free)) of memory that may be filled now")
    }
    let begin = ContinuousClock.now
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: CachedFile.pieceSize, alignment: 4096)
    defer { buffer.deallocate() }
    var count = 0
    var problem: String?
    for (path, missing) in model.files where problem == nil {
      guard let file = CachedFile(path) else {
        problem = "\(path): \(Errno.last.text)"
        break
      }
      for piece in missing {
        guard let bytes = file.read(piece, into: buffer) else {
          problem = "\(path): \(Errno.last.text)"
          break
        }
        count += bytes
        voice.speak()
      }
    }
    tell(model.name, size: model.size, read: count, in: .now - begin, problem: problem)
  }

  /// Bytes that programs could have without others being swapped out; nil where the kernel does not say.
  private static var availableMemory: Int? {
    guard let file = fopen("/proc/meminfo", "re") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, Int32(line.count), file) != nil {
      let words = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self).split(separator: " ")
      if words.count >= 2, words[0] == "MemAvailable:" { return Int(words[1]).map { $0 << 10 } }
    }
    return nil
  }

  private static func tell(
    _ name: String, size: Int = 0, read: Int = 0, in duration: Duration = .zero, problem: String? = nil
  ) {
    tell(
      .outcome(
        ReadAhead.Outcome(
          model: name, size: size, read: min(read, size), duration: max(.zero, duration), problem: problem)))
  }

  private static func tell(_ message: ReaderMessage) {
    let bytes = Array((message.line + "\n").utf8)
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { exit(0) }
      rest = rest.dropFirst(count)
    }
  }

  /// Says that it lives, once a second.
  private struct Voice {
    private var spokeAt = ContinuousClock.now

    mutating func speak() {
      let now = ContinuousClock.now
      guard now - spokeAt >= .seconds(1) else { return }
      spokeAt = now
      ModelReader.tell(.alive)
    }
  }
}
