import Foundation
import Glibc
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Launching
@testable import Systemd

extension SystemdLauncherTests {
  private static let says = """
    [ -r "$OLLAMA_MODELS/there" ] && echo "reads it"
    touch "$OLLAMA_MODELS/x" 2>/dev/null && echo "writes to it"
    echo told
    """

  private func told(_ id: String) async throws -> String {
    try await eventualValue("\(id) has told") {
      let text = try await journal("POOL_INSTANCE=\(id)", "SYSLOG_IDENTIFIER=ollama-\(id)")
      return text.contains("told\n") ? text : nil
    }
  }

  @Test func `a store in somebody's home and behind a link is read and written, and one of others is read only`()
    async throws
  {
    let homes = "/home"
    let home = homes + "/launching-tests"
    try await succeed("install", ["-d", "-m", "755", "\(home)/models"])
    try await succeed("install", ["-m", "644", "/etc/hostname", "\(home)/models/there"])
    try await succeed("chown", ["-R", "ollama-pool-instance", "\(home)/models"])
    try await succeed("ln", ["-sfn", "\(home)/models", "/srv/launching-link"])
    try await withLauncher { launcher, _ in
      let script = try await Script("\(Self.says)\n\(Self.waits)")
      for (id, path, isOwned) in [
        ("store1", "\(home)/models", true), ("store2", "/srv/launching-link", true),
        ("store3", "/srv/launching-link", false), ("store4", "\(home)/models", false),
      ] {
        var specification = InstanceSpecification.example(
          InstanceID(id), gpus: [], executable: script.path
        ) { $0.modelsPath = path }
        specification.ownsStore = isOwned
        _ = try await launcher.start(specification, port: 11500)
        #expect(try await told(id) == "reads it\n" + (isOwned ? "writes to it\n" : "") + "told\n", "\(id)")
      }
      let store = try await ModelStore.find(
        for: .init(), asOwnUser: launcher.startsAsOwnUser, service: nil)
      #expect(store?.path == "/var/lib/ollama-pool-instance/.ollama/models")
      #expect(store?.isOwned == true)
    }
  }

  @Test func `a start waits for the mount that its store is on, and fails without it, by its name`() async throws {
    try await succeed("install", ["-d", "/srv/launching-mount/deep"])
    let unit = "/etc/systemd/system/srv-launching\\x2dmount.mount"
    try await withLauncher { launcher, _ in
      let script = try await Script("\(Self.says)\n\(Self.waits)")
      let specification = InstanceSpecification.example("mount", gpus: [], executable: script.path) {
        $0.modelsPath = "/srv/launching-mount/deep"
      }
      func failure() async throws -> LaunchError {
        try await launchError { try await launcher.start(specification, port: 11500) }
      }
      // systemd has not read it, and knows of no mount.
      try "/none /srv/launching-mount tmpfs\n".write(toFile: "/etc/fstab", atomically: false, encoding: .utf8)
      let unknown = try await failure()
      #expect(unknown.code == .missingMount)
      #expect(unknown.message.contains("/srv/launching-mount, which /etc/fstab names, is not mounted"), "\(unknown)")
      try "".write(toFile: "/etc/fstab", atomically: false, encoding: .utf8)

      func mount(_ what: String, _ type: String) async throws {
        try "[Mount]\nWhat=\(what)\nWhere=/srv/launching-mount\nType=\(type)\n"
          .write(toFile: unit, atomically: false, encoding: .utf8)
        try await succeed("systemctl", ["daemon-reload"])
      }
      try await mount("/dev/no-such-disk", "no-such-type")
      let failed = try await failure()
      #expect(failed.code == .missingMount && failed.message.contains("/srv/launching-mount"), "\(failed)")

      // One that works, with the store on it.
      let image = "/srv/launching-image"
      try await succeed("install", ["-d", "-m", "755", "-o", "ollama-pool-instance", "\(image)/deep"])
      try await succeed("install", ["-m", "644", "/etc/hostname", "\(image)/deep/there"])
      try await succeed("chown", ["-R", "ollama-pool-instance", image])
      try "[Mount]\nWhat=\(image)\nWhere=/srv/launching-mount\nOptions=bind\n"
        .write(toFile: unit, atomically: false, encoding: .utf8)
      try await succeed("systemctl", ["daemon-reload"])
      _ = try await run("systemctl", ["reset-failed", "srv-launching\\x2dmount.mount"])
      _ = try await launcher.start(specification, port: 11500)
      #expect(try await told("mount") == "reads it\nwrites to it\ntold\n")
    }
    _ = try await run("systemctl", ["stop", "srv-launching\\x2dmount.mount"])
    unlink(unit)
    try await succeed("systemctl", ["daemon-reload"])
  }

  @Test func `an installed Ollama is found by its unit, also while it does not run`() async throws {
    #expect(try await OllamaService.find() == nil)
    let file = "/etc/systemd/system/ollama.service"
    try """
    [Service]
    ExecStart=/bin/sleep 1000
    User=daemon
    Environment=HOME=/srv/launching-home "OLLAMA_FLASH_ATTENTION=1"
    """.write(toFile: file, atomically: false, encoding: .utf8)
    try await succeed("systemctl", ["daemon-reload"])
    #expect(
      try await OllamaService.find() == OllamaService(user: "daemon", modelsPath: "/srv/launching-home/.ollama/models"))
    try await succeed("systemctl", ["start", "ollama.service"])
    #expect(try await OllamaService.find()?.isActive == true)
    try await succeed("systemctl", ["stop", "ollama.service"])
    unlink(file)
    try await succeed("systemctl", ["daemon-reload"])
    #expect(try await OllamaService.find() == nil)
    // Where systemd does not answer, that is no word about it.
    let bus = try await SystemdBus.connect(deadline: .seconds(5))
    await bus.close()
    await #expect(throws: SystemdError.self) { try await OllamaService.find(by: bus) }
  }
}
