import Foundation
import NIOCore
import NIOPosix
import QueueStore
import TestSupport

/// What a running dispatcher has written down: it lets nobody else open its database, so this looks at a copy.
struct StoredFiles {
  private static let names = ["pool.sqlite", "pool.sqlite-wal"]

  let state: TemporaryDirectory

  /// Everything that is on the disk. Not the same again once anything was written.
  var bytes: [Data] {
    Self.names.map { (try? Data(contentsOf: URL(fileURLWithPath: state.path(to: $0)))) ?? Data() }
  }

  /// A folder in which it is as it would be after a `kill -9` now.
  func copied() throws -> TemporaryDirectory {
    let copy = try TemporaryDirectory()
    for (name, bytes) in zip(Self.names, bytes) { try bytes.write(to: URL(fileURLWithPath: copy.path(to: name))) }
    return copy
  }

  func read() async throws -> StoredState {
    let copy = try copied()
    let store = try await QueueStore.open(
      copy.path(to: Self.names[0]), on: MultiThreadedEventLoopGroup.singleton.any()
    ).get()
    let stored = try await store.load(usageSince: 0).get()
    try await store.close().get()
    return stored
  }
}
