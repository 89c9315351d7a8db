import Foundation
import TestSupport

/// A client that has the pool pull a model.
final class Pull {
  private let probe: HTTPProbe
  private var head: HTTPProbe.Head?
  private var pieces: [HTTPProbe.Piece] = []
  /// A time at which it had not ended yet, since the machine's start.
  private(set) var lastSeenUnderWay = MonotonicTime.now

  private init(_ probe: HTTPProbe) { self.probe = probe }

  /// One that is waited for, in one answer.
  static func whole(_ model: String) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange(
      "POST", "/api/pull", port: InstalledPool.port, headers: [("Content-Type", "application/json")],
      body: #"{"model":"\#(model)","stream":false}"#)
  }

  /// One of which nothing is awaited yet.
  static func asked(_ model: String) async throws -> Pull {
    let probe = try await HTTPProbe.connect(port: InstalledPool.port)
    try await probe.send(
      "POST", "/api/pull", headers: [("Content-Type", "application/json")], body: #"{"model":"\#(model)"}"#)
    return Pull(probe)
  }

  /// One of whose progress something has come.
  static func begun(_ model: String) async throws -> Pull {
    let pull = try await asked(model)
    _ = try await pull.next()
    return pull
  }

  private func next() async throws -> Bool {
    if head == nil { head = try await probe.head(within: .seconds(30)) }
    guard let piece = try await probe.piece(within: .seconds(30)) else { return false }
    // It has said more after the one before.
    if let before = pieces.last { lastSeenUnderWay = max(lastSeenUnderWay, MonotonicTime.of(before.receivedAt)) }
    pieces.append(piece)
    return true
  }

  /// Its lines, once it has ended.
  func lines() async throws -> [String] {
    while try await next() {}
    await probe.close()
    return pieces.map(\.text).joined().split(separator: "\n").map(String.init)
  }

  static func isWhole(_ lines: [String]) -> Bool { lines.last?.contains(#""status":"success""#) == true }
}

extension InstalledPool {
  /// Where the models of the package's user are.
  static let usualStore = "/var/lib/ollama-pool-instance/.ollama/models"

  /// The files of the models in a store, as the simulator keeps them.
  static func models(in store: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: store + "/simulator/models")
  }

  /// The units of instances that may reach more than this machine.
  func networks() async throws -> Set<String> {
    var open: Set<String> = []
    for unit in try await instanceUnits() {
      let state = try await run("systemctl", ["show", "-p", "ActiveState", "-p", "IPAddressDeny", unit]).output
      if state.contains("ActiveState=active"), state.contains("IPAddressDeny=\n") { open.insert(unit) }
    }
    return open
  }
}
