import Foundation
import Glibc
import PoolConfiguration
import PoolCore
import Systemd
import TestSupport
import Testing

@testable import Launching

/// The process that reads models into memory, with a store as Ollama has it.
@Suite(.enabled(if: Guard.isBuilt, "needs the executable ollama-pool: swift build"), .timeLimit(.minutes(1)))
struct ModelReaderTests {
  private func read(_ models: [String], in store: String) async throws -> [ReadAhead.Outcome] {
    let launcher = ChildLauncher(reader: ReaderProgram(path: Guard.path))
    let messages = try await launcher.readAhead(ReaderOrder(models: models, store: store, user: nil))
    var outcomes: [ReadAhead.Outcome] = []
    for await case .outcome(let outcome) in messages { outcomes.append(outcome) }
    await launcher.close()
    return outcomes
  }

  @Test func whatIsNotInMemoryIsReadOneModelAfterTheOther() async throws {
    let store = try StoreOnDisk()
    try store.add("registry.ollama.ai/library/Large/7B", blobs: [9 << 20, 3 << 20])
    try store.add("registry.ollama.ai/library/small/latest", blobs: [1 << 20])
    try store.forget()
    let outcomes = try await read(["large:7b", "small:latest", "none:latest", "../../etc"], in: store.path)
    // What is not there, and what is there already, is told first.
    #expect(outcomes.prefix(2).map(\.model) == ["none:latest", "../../etc"])
    #expect(outcomes.prefix(2).allSatisfy { $0.problem == "the store has no such model" })
    #expect(outcomes.dropFirst(2).map(\.model) == ["large:7b", "small:latest"])
    #expect(outcomes.dropFirst(2).map(\.size) == [12 << 20, 1 << 20])
    #expect(outcomes.allSatisfy { $0.problem != nil || $0.read <= $0.size })
    // Where the file system tells, all of it was missing; then none.
    if store.forgets { #expect(outcomes.dropFirst(2).map(\.read) == [12 << 20, 1 << 20]) }
    let again = try await read(["large:7b", "small:latest"], in: store.path)
    if store.forgets { #expect(again.map(\.read) == [0, 0]) }
    #expect(again.map(\.size) == [12 << 20, 1 << 20])
  }

  @Test func aManifestLeadsNowhereElse() async throws {
    let store = try StoreOnDisk()
    let digests = ["sha256:../../../../etc/passwd", "md5:1", "sha256:"]
    try store.add("registry.ollama.ai/library/m/latest", digests: digests)
    try store.write("no JSON", to: "registry.ollama.ai/library/broken/latest")
    let outcomes = try await read(["m:latest", "broken:latest"], in: store.path)
    #expect(outcomes.first { $0.model == "m:latest" }?.size == 0)
    #expect(outcomes.first { $0.model == "broken:latest" }?.problem == "the store has no such model")
  }

  @Test func aMissingBlobIsNamed() async throws {
    let store = try StoreOnDisk()
    let digest = "sha256:" + String(repeating: "a", count: 64)
    try store.add("registry.ollama.ai/library/m/latest", digests: [digest])
    let outcome = try #require(try await read(["m:latest"], in: store.path).first)
    let problem = try #require(outcome.problem)
    #expect(problem.contains("sha256-aaaa") && problem.contains("No such file or directory"))
  }

  @Test func aProgramThatIsGoneIsAnError() async throws {
    let launcher = ChildLauncher(reader: ReaderProgram(path: "/nonexistent/ollama-pool"))
    await #expect(throws: LaunchError.self) {
      _ = try await launcher.readAhead(ReaderOrder(models: ["m"], store: "/", user: nil))
    }
    await launcher.close()
  }

  @Test(arguments: [
    ReaderMessage.alive, .outcome(.init(model: "m:latest", size: 5, read: 4, duration: .microseconds(3))),
    .outcome(.init(model: "m", size: 0, read: 0, duration: .zero, problem: "a: no")),
  ]) func messagesSurviveALine(_ message: ReaderMessage) { #expect(ReaderMessage(line: message.line) == message) }

  @Test(arguments: ["", "m", "m\t1\t2\t3\t", "m\t-1\t-1\t0\t", "\t1\t1\t1\t", "m\t1\t1\t-1\t", "m\t1\t1\tx\t"])
  func whatNoReaderSaysIsNothing(_ line: String) { #expect(ReaderMessage(line: line) == nil) }
}

/// A model store as Ollama has it.
private final class StoreOnDisk {
  private let folder: TemporaryDirectory
  private var blobs: [String] = []

  init() throws { folder = try TemporaryDirectory() }

  var path: String { folder.path(to: "models") }

  func add(_ manifest: String, blobs sizes: [Int]) throws {
    var digests: [String] = []
    for size in sizes {
      let hexadecimal = String(format: "%064x", blobs.count + 1)
      let name = "models/blobs/sha256-\(hexadecimal)"
      try FileManager.default.createDirectory(
        atPath: folder.path(to: "models/blobs"), withIntermediateDirectories: true)
      try Data(repeating: UInt8(blobs.count + 1), count: size).write(to: URL(filePath: folder.path(to: name)))
      blobs.append(folder.path(to: name))
      digests.append("sha256:\(hexadecimal)")
    }
    try add(manifest, digests: digests)
  }

  func add(_ manifest: String, digests: [String]) throws {
    let layers = digests.map { #"{"mediaType":"application/vnd.ollama.image.model","digest":"\#($0)","size":1}"# }
    let license = #"{"mediaType":"application/vnd.ollama.image.license","digest":"sha256:00","size":1}"#
    try write(#"{"schemaVersion":2,"layers":[\#((layers + [license]).joined(separator: ","))]}"#, to: manifest)
  }

  func write(_ text: String, to manifest: String) throws {
    let path = path + "/manifests/" + manifest
    try FileManager.default.createDirectory(
      atPath: String(path.prefix(upTo: path.lastIndex(of: "/")!)), withIntermediateDirectories: true)
    try text.write(toFile: path, atomically: false, encoding: .utf8)
  }

  /// Whether the last ``forget()`` has thrown the blobs out of memory, which not each file system does.
  private(set) var forgets = false

  func forget() throws {
    forgets = true
    for path in blobs {
      let descriptor = open(path, O_RDONLY)
      defer { close(descriptor) }
      guard fsync(descriptor) == 0, posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0 else {
        throw CocoaError(.fileReadUnknown)
      }
      forgets = forgets && isForgotten(descriptor)
    }
  }

  /// Of one's own files the kernel tells the truth.
  private func isForgotten(_ descriptor: Int32) -> Bool {
    var information = stat()
    fstat(descriptor, &information)
    let size = Int(information.st_size)
    let address = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0)
    guard let address, address != MAP_FAILED else { return false }
    defer { munmap(address, size) }
    var pages = [UInt8](repeating: 1, count: (size + 4095) / 4096)
    return mincore(address, size, &pages) == 0 && pages.allSatisfy { $0 & 1 == 0 }
  }
}
