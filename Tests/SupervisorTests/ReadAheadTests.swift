import ControlInterface
import PoolCore
import TestSupport
import Testing

@testable import Launching
@testable import Supervisor

/// Models that are read into memory while an instance starts.
@Suite struct ReadAheadTests {
  private static let preload = "preload: [a, b]\n"

  @Test func aReaderIsSentAndWhatItSaysIsTold() async throws {
    let stage = try Stage(Stage.fourGPUs + Self.preload)
    stage.launcher.change { $0.areReadersHeld = true }
    try await withSupervisor(stage) { _ in
      try await eventually(within: patience, "a reader is sent") { stage.launcher.world.reader != nil }
      #expect(stage.launcher.world.readers.map(\.models) == [["a:latest", "b:latest"]])
      #expect(stage.launcher.world.readers.allSatisfy { $0.store.hasPrefix("/") })
      try await eventually(within: patience, "the second model waits for its turn") {
        stage.dispatcher.world.awaitingTurn == ["b:latest"]
      }
      let reader = stage.launcher.world.reader
      reader?.yield(.outcome(.init(model: "a:latest", size: 2 << 20, read: 1 << 20, duration: .seconds(1))))
      try await stage.tells("a:latest is read ahead: 1 MiB of 2 MiB in 1 s, 1 MiB/s")
      try await eventually(within: patience, "its turn has come") { stage.dispatcher.world.awaitingTurn == [] }
      reader?.finish()
      try await stage.tells("models are not read ahead: the reader ended before it was done with b:latest")
      let read = try await stage.status().readModels
      #expect(read?.map(\.model) == ["a:latest"] && read?.first?.readBytes == 1 << 20)
    }
  }

  @Test func withoutTheSettingNoReaderIsSent() async throws {
    let stage = try Stage(Stage.fourGPUs + Self.preload + "read_ahead: false\n")
    try await withSupervisor(stage) { _ in
      try await stage.running("gpu0")
      try await stage.tells("gpu0 ready after")
      #expect(stage.launcher.world.readers.isEmpty)
    }
  }
}
