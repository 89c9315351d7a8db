import Foundation
import Glibc
import Synchronization

/// A library built from `Tests/FakeNVML` in a folder of its own, and the file that tells it which GPUs there are.
package final class FakeNVML: Sendable {
  private let folder: TemporaryDirectory
  package let library: String

  /// Kept until the process ends: the dynamic linker takes a new file with a deleted one's inode for the library that
  /// it still has loaded.
  private static let folders = Mutex<[TemporaryDirectory]>([])
  private static let removesFoldersAtExit: Bool = atexit { folders.withLock { $0 = [] } } == 0

  /// Any C compiler; a Swift toolchain brings one.
  package static let compiler: String? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    let toolchains = folders.map { $0 + "/swift" }.filter { access($0, X_OK) == 0 }
      .map { URL(fileURLWithPath: $0).resolvingSymlinksInPath().deletingLastPathComponent().path }
    let candidates = folders.map { $0 + "/cc" } + (folders + toolchains).map { $0 + "/clang" }
    return candidates.first { access($0, X_OK) == 0 }
  }()

  package static let needsCompiler = "needs a C compiler (cc, or the clang of a Swift toolchain) to build a fake NVML"

  package init(source: String = "fake_nvml.c", options: [String] = [], state: String = "") async throws {
    let folder = try TemporaryDirectory()
    self.folder = folder
    if Self.removesFoldersAtExit { Self.folders.withLock { $0.append(folder) } }
    library = folder.path(to: "libnvidia-ml.so.1")
    let arguments = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library] + options
    let compiler = Self.compiler ?? "cc"
    let (_, errors, end) = try await run(compiler, arguments + [PackageRoot.path(to: "Tests/FakeNVML/\(source)")])
    guard end == .exited(0) else { throw NotCompiled(description: "\(compiler): \(errors)") }
    try show(state)
  }

  /// From now on the library says this.
  package func show(_ state: String) throws {
    // A new file each time: a change within the clock's tick is one, too.
    let next = try folder.write(state, to: "nvml.state.next")
    guard rename(next, folder.path(to: "nvml.state")) == 0 else { throw SystemCallFailed("rename") }
  }

  /// From now on this process has so much memory on the GPU or slice, until it ends.
  package func occupy(_ uuid: String, bytes: Int, by pid: Int32) throws {
    try FileManager.default.createDirectory(atPath: folder.path(to: "procs"), withIntermediateDirectories: true)
    try folder.write("\(uuid) \(bytes)\n", to: "procs/\(pid)")
  }

  /// How often a function was called so far without failing: on one GPU, counted from 0, or on all.
  package func calls(of function: String, gpu: Int32 = -1) -> Int {
    guard let handle = dlopen(library, RTLD_NOW), let symbol = dlsym(handle, "fakeCalls") else { return 0 }
    defer { dlclose(handle) }
    typealias Counter = @convention(c) (UnsafePointer<CChar>, Int32) -> Int32
    return Int(unsafeBitCast(symbol, to: Counter.self)(function, gpu))
  }

  /// From now on no call of the library returns, until the closure that comes back is called.
  package func hang() throws -> () -> Void {
    let next = folder.path(to: "nvml.state.next")
    guard mkfifo(next, 0o600) == 0, rename(next, folder.path(to: "nvml.state")) == 0 else {
      throw SystemCallFailed("mkfifo")
    }
    let path = folder.path(to: "nvml.state")
    return {
      // Who opens a pipe for reading waits for somebody to write.
      let descriptor = open(path, O_WRONLY | O_NONBLOCK)
      if descriptor >= 0 { close(descriptor) }
    }
  }

  private struct NotCompiled: Error, CustomStringConvertible { let description: String }
}
