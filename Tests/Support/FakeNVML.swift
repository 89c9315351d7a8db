import Foundation
import Glibc
import Synchronization

/// The simulated NVML in a folder of its own, and the file that tells it which GPUs there are.
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

  package static let needsCompiler = "needs a C compiler (cc, or the clang of a Swift toolchain) to build another NVML"

  /// The library as it is shipped.
  package init(state: String = "") async throws {
    folder = try Self.newFolder()
    library = folder.path(to: "libnvidia-ml.so.1")
    let copy = try await run("cp", [BuiltProduct.path("libSimulatedNVML.so"), library])
    guard copy.end == .exited(0) else { throw SystemCallFailed(copy.errorOutput) }
    try show(state)
  }

  /// Another one.
  package init(variant: Variant, state: String = "") async throws {
    folder = try Self.newFolder()
    library = folder.path(to: "libnvidia-ml.so.1")
    let arguments = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library] + variant.options
    let compiler = Self.compiler ?? "cc"
    let (_, errors, end) = try await run(compiler, arguments + [PackageRoot.path(to: variant.source)])
    guard end == .exited(0) else { throw NotCompiled(description: "\(compiler): \(errors)") }
    try show(state)
  }

  /// What takes a compiler.
  package struct Variant: Sendable {
    fileprivate var source = "Sources/SimulatedNVML/simulated_nvml.c"
    fileprivate var options: [String] = []

    /// As shipped, and ``FakeNVML/calls(of:gpu:)`` tells what was called.
    package static let counting = Variant(options: ["-DCOUNT_CALLS"])
    /// With the functions of a driver of some years ago.
    package static let old = Variant(options: ["-DCOUNT_CALLS", "-DOLD_SYMBOLS"])
    /// So old that it can do little more than name its one GPU.
    package static let ancient = Variant(source: "Tests/FakeNVML/old_nvml.c")
    /// It can't do even that.
    package static let useless = Variant(source: "Tests/FakeNVML/old_nvml.c", options: ["-DWITHOUT_UUID"])
  }

  private static func newFolder() throws -> TemporaryDirectory {
    let folder = try TemporaryDirectory()
    if removesFoldersAtExit { folders.withLock { $0.append(folder) } }
    return folder
  }

  /// From now on the library says this.
  package func show(_ state: String) throws {
    // A new file each time: a change within the clock's tick is one, too.
    let next = try folder.write(state, to: "nvml.state.next")
    guard rename(next, folder.path(to: "nvml.state")) == 0 else { throw SystemCallFailed("rename") }
  }

  /// A process that has so much memory on the GPU or slice, until it ends.
  package func occupy(_ uuid: String, bytes: Int) throws -> RunningProgram {
    // It waits by itself: a child would have the same command line until it is another program, and hold as much.
    let nothing = folder.path(to: "nothing")
    guard mkfifo(nothing, 0o600) == 0 || errno == EEXIST else { throw SystemCallFailed("mkfifo") }
    return try RunningProgram(
      "sh", ["-c", "read -r _ < \"$0\"", nothing, "--gpus", folder.path, "--holds", "\(uuid)=\(bytes)"])
  }

  /// Each function of NVML's that the pool calls, by its newest name.
  package static func calls() throws -> Set<String> {
    let path = PackageRoot.path(to: "Sources/GPUInventory/NVMLLibrary.swift")
    let source = try String(contentsOfFile: path, encoding: .utf8)
    return Set(source.matches(of: /(?:find|need)\("(nvml[A-Za-z0-9_]+)"/).map { String($0.1) })
  }

  /// How often a function was called so far without failing: on one GPU, counted from 0, or on all.
  package func calls(of function: String, gpu: Int32 = -1) -> Int {
    guard let handle = dlopen(library, RTLD_NOW), let symbol = dlsym(handle, "fakeCalls") else { return 0 }
    defer { dlclose(handle) }
    typealias Counter = @convention(c) (UnsafePointer<CChar>, Int32) -> Int32
    return Int(unsafeBitCast(symbol, to: Counter.self)(function, gpu))
  }

  /// From now on no call of the library returns, until the closure that comes back is called.
  package func hang() throws -> () throws -> Void {
    let state = try String(contentsOfFile: folder.path(to: "nvml.state"), encoding: .utf8)
    try show(state + "hang\n")
    return { try self.show(state) }
  }

  private struct NotCompiled: Error, CustomStringConvertible { let description: String }
}
