import Foundation
import Glibc
import Synchronization
import TestSupport

@testable import GPUInventory

/// A library built from `Tests/FakeNVML` in a folder of its own, and the file that tells it which GPUs there are.
final class FakeNVML {
  private let folder: TemporaryDirectory
  let library: String

  /// Kept until the process ends: the dynamic linker takes a new file with a deleted one's inode for the library that
  /// it still has loaded.
  private static let folders = Mutex<[TemporaryDirectory]>([])
  private static let removesFoldersAtExit: Bool = atexit { folders.withLock { $0 = [] } } == 0

  /// Any C compiler; a Swift toolchain brings one.
  static let compiler: String? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    let toolchains = folders.map { $0 + "/swift" }.filter { access($0, X_OK) == 0 }
      .map { URL(fileURLWithPath: $0).resolvingSymlinksInPath().deletingLastPathComponent().path }
    let candidates = folders.map { $0 + "/cc" } + (folders + toolchains).map { $0 + "/clang" }
    return candidates.first { access($0, X_OK) == 0 }
  }()

  static let needsCompiler = "needs a C compiler (cc, or the clang of a Swift toolchain) to build a fake NVML"

  init(source: String = "fake_nvml.c", options: [String] = [], state: String = "") async throws {
    let folder = try TemporaryDirectory()
    self.folder = folder
    if Self.removesFoldersAtExit { Self.folders.withLock { $0.append(folder) } }
    library = folder.path(to: "libnvidia-ml.so.1")
    let arguments = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library] + options
    let compiler = Self.compiler ?? "cc"
    let (_, errors, end) = try await run(compiler, arguments + [PackageRoot.path(to: "Tests/FakeNVML/\(source)")])
    guard end == .exited(0) else { throw InventoryProblem(subject: compiler, text: errors) }
    try show(state)
  }

  /// From now on the library says this.
  func show(_ state: String) throws {
    // A new file each time: a change within the clock's tick is one, too.
    let next = try folder.write(state, to: "nvml.state.next")
    guard rename(next, folder.path(to: "nvml.state")) == 0 else { throw SystemCallFailed("rename") }
  }

  /// Sees no kernel driver, whatever machine runs the tests.
  func reader(kernelDriver: String = "/nonexistent") -> InventoryReader {
    InventoryReader(nvmlLibrary: library, kernelDriver: kernelDriver)
  }

  /// Four GPUs, which NVML counts in another order than the PCI bus.
  static let four = """
    gpu uuid=GPU-c name=Fake_H100 bus=00000000:81:00.0 minor=2 total=85899345920 used=3 util=30 temp=63
    gpu uuid=GPU-a name=Fake_H100 bus=00000000:01:00.0 minor=0 total=85899345920 used=1 util=10 temp=61
    gpu uuid=GPU-d name=Fake_H100 bus=00000001:01:00.0 minor=3 total=85899345920 used=4 util=40 temp=64
    gpu uuid=GPU-b name=Fake_H100 bus=00000000:41:00.0 minor=1 total=85899345920 used=2 util=20 temp=62

    """
}
