import Glibc
import PoolCore
import Systemd

/// The transient unit of a reader of models: it reads the store, and can do nothing else.
enum ReaderUnit {
  /// One at a time of each supervisor.
  static let name = "ollama-readahead-\(getpid()).service"

  /// - Parameters:
  ///   - account: whom it runs as; nil for the manager of a user.
  ///   - socket: the reader's end.
  static func properties(
    of order: ReaderOrder, program: String, owner: UnitOwner, as account: InstanceAccount?, socket: Int32
  ) -> [UnitProperty] {
    var properties: [UnitProperty] = [
      .description("Reads models into memory before instances load them"),
      .slice(InstanceUnit.slice), .type(.exec), .execStart(program, [ModelReader.subcommand, order.store]),
      .standardInput(socket), .standardOutput(socket), .syslogIdentifier("ollama-readahead"),
      .collectMode(.inactiveOrFailed), .sendSIGKILL(true), .timeoutStop(.seconds(5)), .tasksMax(16),
      // What it reads counts as the slice's: a limit of its own would throw out what it has just read.
      .oomScoreAdjust(500), .noNewPrivileges(true), .restrictAddressFamilies(["AF_UNIX"]),
      .systemCallFilter(["@system-service"]), UnitProperty("SystemCallErrorNumber", .int32(EPERM)),
      .systemCallArchitectures(["native"]),
    ]
    if owner.isInstalled {
      properties += [.partOf(["ollama-pool.target"]), .before(["ollama-pool-dispatcher.service"])]
    }
    guard let account else { return properties }
    let named = [order.store, program]
    let isInHomes = (named + named.compactMap(RealPath.of)).contains { path in
      ["/home", "/root", "/run/user"].contains(where: path.isBelow)
    }
    return properties + [
      .user(account.name), .supplementaryGroups(account.groups), .capabilityBoundingSet(0), .protectSystem(.strict),
      .protectHome(isInHomes ? .readOnly : .yes), .enable(.protectControlGroups), .enable(.protectHostname),
      .enable(.protectKernelLogs), .enable(.protectKernelModules), .enable(.protectKernelTunables),
      .enable(.restrictRealtime), .enable(.restrictSUIDSGID), .enable(.lockPersonality),
      .enable(.privateDevices), .enable(.privateNetwork), .enable(.memoryDenyWriteExecute),
    ]
  }
}
