import Foundation
import GPUInventory
import Glibc
import PoolConfiguration
import PoolCore
import TestSupport

@testable import Launching

extension InstanceSpecification {
  /// An instance on GPU-aaa, of the settings' defaults.
  static func example(
    _ id: InstanceID = "gpu0", gpus: [GPU] = [.nvidia("GPU-aaa", minor: 0)], executable: String = "/usr/bin/ollama",
    prunesStore: Bool = true, environment: [String: String] = [:], inherited: [String: String] = [:],
    store: ModelStore? = nil, _ change: (inout Settings) -> Void = { _ in }
  ) -> InstanceSpecification {
    var settings = Settings()
    change(&settings)
    var specification = InstanceSpecification.make(
      Placement(id: id, gpus: gpus.map(\.uuid), slots: settings.slots), on: gpus, environment: environment,
      inherited: inherited, settings: settings, store: store ?? .owned(at: settings.modelsPath),
      ollama: OllamaExecutable(
        path: executable, kind: .ollama, identity: OllamaExecutable.Identity(size: 1, modified: 2, inode: 3)))
    specification.prunesStore = prunesStore
    return specification
  }

  /// Its variables on port 11500.
  func variables(hidingOtherGPUs: Bool = true) -> [String: String] {
    let pairs = environment(port: 11500, home: "/var/lib/x", hidingOtherGPUs: hidingOtherGPUs)
    return Dictionary(uniqueKeysWithValues: pairs.map { ($0.name, $0.value) })
  }

  var variables: [String: String] { variables() }
}

extension Launcher {
  /// By all that can be told of it.
  func instance(ofProcess processID: Int32) -> ProcessOwner { instance(ofProcess: processID, readsArguments: true) }
}

extension ModelStore {
  /// One that is the pool's, whatever is there.
  /// - Parameter setting: nil for the usual place.
  static func owned(at setting: String?) -> ModelStore {
    var store = ModelStore.resolve(
      setting: setting, user: .own, home: "/nonexistent", environment: [:], service: nil,
      mounts: MountTable(mounts: [], planned: [:]))
    store.refusal = nil
    return store
  }
}

extension GPU {
  static func nvidia(_ uuid: String, minor: Int) -> GPU {
    var gpu = GPU(index: minor, uuid: uuid, vendor: .nvidia)
    gpu.deviceNodes = ["/dev/nvidia\(minor)", "/dev/nvidiactl", "/dev/nvidia-uvm"]
    return gpu
  }

  static func amd(_ uuid: String, render: Int) -> GPU {
    var gpu = GPU(index: 0, uuid: uuid, vendor: .amd)
    gpu.deviceNodes = ["/dev/kfd", "/dev/dri/renderD\(render)"]
    return gpu
  }
}

/// The pool of these tests, by the folder of its control sockets.
///
/// What only its user reads is in a folder whose name is a pattern that fits others, and not itself.
let owner = UnitOwner(folder: "/run/tests", isInstalled: false, privateFolder: "/run/tests/[*?]\\ %h")
let otherOwner = UnitOwner(folder: "/run/other", isInstalled: false)

/// Collects a launcher's events, for tests to wait for.
actor Witness {
  private(set) var events: [LauncherEvent] = []
  private var task: Task<Void, Never>?

  init(_ launcher: any Launcher) async {
    let stream = launcher.events
    task = Task { [weak self] in for await event in stream { await self?.saw(event) } }
  }

  private func saw(_ event: LauncherEvent) { events.append(event) }

  /// The reasons of all ends of one invocation: one, when all is well.
  func ends(of invocation: InvocationID) -> [String] {
    events.compactMap { if case .ended(_, invocation, let reason) = $0 { reason } else { nil } }
  }

  /// Waits for the end of an invocation and returns its reason.
  func end(of invocation: InvocationID, within limit: Duration = .seconds(20)) async throws -> String {
    try await eventualValue(within: limit, "invocation \(invocation) ends") { ends(of: invocation).first }
  }
}

/// Whether a process is there, and no zombie.
func isAlive(_ processID: Int32) -> Bool {
  guard kill(processID, 0) == 0 || errno == EPERM else { return false }
  return fields(ofProcess: processID).first.map { $0 != "Z" } ?? false
}

/// State, parent, process group, session… of a process, as /proc/PID/stat has them.
func fields(ofProcess processID: Int32) -> [Substring] {
  guard let file = fopen("/proc/\(processID)/stat", "r") else { return [] }
  defer { fclose(file) }
  var buffer = [UInt8](repeating: 0, count: 1024)
  let count = fread(&buffer, 1, buffer.count, file)
  let text = String(decoding: buffer.prefix(count), as: UTF8.self)
  return text.lastIndex(of: ")").map { text[$0...].dropFirst().split(separator: " ") } ?? []
}

/// Waits until a shell catches SIGTERM; before that it would end by it.
func trapIsSet(_ processID: Int32) async throws {
  try await eventually("process \(processID) catches SIGTERM") {
    let status = try String(contentsOfFile: "/proc/\(processID)/status", encoding: .utf8)
    let caught = status.split(separator: "\n").first { $0.hasPrefix("SigCgt:\t") }?.dropFirst("SigCgt:\t".count)
    return (caught.flatMap { UInt64($0, radix: 16) } ?? 0) & (1 << UInt64(SIGTERM - 1)) != 0
  }
}

/// The error of something that must fail to be launched.
func launchError<Value>(_ body: () async throws -> Value) async throws -> LaunchError {
  do {
    _ = try await body()
  } catch let error as LaunchError {
    return error
  }
  throw WasLaunched()
}

struct WasLaunched: Error {}

/// A folder with a program in it that stands for `ollama`.
struct Script {
  let folder: TemporaryDirectory
  let path: String

  /// - Parameter body: a shell script; it tells what it wants to in files `$0.NAME`.
  init(_ body: String) async throws {
    folder = try TemporaryDirectory()
    // Also for instances that run as another user.
    chmod(folder.path, 0o755)
    path = folder.path(to: "ollama")
    let text = try folder.write("#!/bin/sh\n\(body)\n", to: "text")
    // Written by another process: whatever this one starts meanwhile would have the file open for a moment, and what is
    // open for writing can't be executed.
    _ = try await run("install", ["-m", "755", text, path])
  }

  /// What it has written to the file `$0.NAME`, once there is a whole line.
  func said(_ name: String) async throws -> String {
    try await eventualValue("\(path) tells its \(name)") {
      let text = try String(contentsOfFile: "\(path).\(name)", encoding: .utf8)
      return text.hasSuffix("\n") ? text : nil
    }
  }

  /// The process ids in such a file, as soon as there are `count`.
  func processIDs(_ name: String, count: Int) async throws -> [Int32] {
    try await eventualValue("\(path) has started \(count) processes") {
      let numbers = try await said(name).split(separator: "\n").compactMap { Int32($0) }
      return numbers.count >= count ? numbers : nil
    }
  }
}
