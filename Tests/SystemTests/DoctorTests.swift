import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// What `ollama-pool doctor` finds on a machine where the pool is installed.
  @Suite(.serialized) struct DoctorTests {
    /// An Ollama of some version, which works as the simulator does.
    private static let ollama = "/opt/ollama-for-doctor"
    private static let script = """
      #!/bin/sh
      case $1 in
        --version) echo "Warning: could not connect to a running Ollama instance"; echo "Warning: client version is 0.12.3";;
        *) exec /usr/bin/ollama-simulator "$@" ;;
      esac
      """

    @Test func anInstalledPoolIsWellAndEachThingThatIsAmissIsFoundWithItsRemedy() async throws {
      let folder = try TemporaryDirectory()
      // By another process: what this one has open for writing can't be executed.
      _ = try await run("install", ["-m", "755", try folder.write(Self.script, to: "ollama"), Self.ollama])
      defer { try? FileManager.default.removeItem(atPath: Self.ollama) }
      try await InstalledPool.running("ollama: \(Self.ollama)") { pool in
        _ = try await pool.ready(1)
        let well = try await pool.pool("doctor")
        #expect(well.end == .exited(0) && well.output.hasSuffix("\nAll is well.\n"), "\(well.output)")
        #expect(well.output.contains("\(Self.ollama), version 0.12.3\n"))

        let stranger = try await DoctorReport.read(as: "nobody")
        stranger.expect(
          "rights", "warning", "nobody may not use the control sockets",
          remedy: "`sudo usermod -aG ollama-pool nobody`")
        // The numbers of GPUs are the installed pool's, for whoever looks.
        #expect(
          stranger.findings.contains { $0.text.hasPrefix("/var/lib/ollama-pool is closed to nobody") },
          "\(stranger.findings)")

        try await pool.stop()
        try await ailing(pool)
      }
    }

    /// As Ollama's installer writes it, with what an operator has added.
    private static let installed = """
      [Unit]
      Description=Ollama Service

      [Service]
      ExecStart=/usr/local/bin/ollama serve
      User=nobody
      Environment="PATH=/usr/bin" "OLLAMA_HOST=0.0.0.0" "OLLAMA_NUM_PARALLEL=4"
      Environment=OLLAMA_KEEP_ALIVE=24h OLLAMA_MODELS=/srv/models-to-import OPENAI_API_KEY=hunter2
      Environment=OLLAMA_FLASH_ATTENTION=1
      EnvironmentFile=-/etc/default/ollama
      """

    @Test func settingsOfOllamasServiceBecomeAConfigurationThatIsRight() async throws {
      let store = "/srv/models-to-import"
      _ = try await run("install", ["-d", "-m", "755", "-o", "nobody", store])
      let unit = "/run/systemd/system/ollama.service"
      try Self.installed.write(toFile: unit, atomically: false, encoding: .utf8)
      try await systemctl("daemon-reload")
      // Nothing of it takes a right.
      let (output, errors, end) = try await run(
        "setpriv",
        ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "/usr/bin/ollama-pool", "doctor", "--import"])
      try FileManager.default.removeItem(atPath: unit)
      try await systemctl("daemon-reload")
      #expect(end == .exited(0) && errors.isEmpty, "\(errors)")

      let folder = try TemporaryDirectory()
      let file = try folder.write(output, to: "imported.yaml")
      let check = try await run("/usr/bin/ollama-pool", ["config", "check", "--config", file])
      #expect(check.end == .exited(0), "\(check.output)\(check.errorOutput)")
      let lines = output.split(separator: "\n").map(String.init)
      for line in [
        "instance_user: \"nobody\"", "models_path: \"\(store)\"", "slots: 4", "keep_alive: \"24h\"",
        "  OLLAMA_FLASH_ATTENTION: \"1\"", "#allow_open_listener: true",
      ] {
        #expect(lines.contains(line), "\(line) is not in \(output)")
      }
      #expect(lines.contains { $0.hasPrefix("# The models of the pool: \(store) (by models_path), owned by nobody") })
      #expect(lines.contains { $0.hasPrefix("# EnvironmentFile=/etc/default/ollama is not taken") })
      #expect(!output.contains("hunter2"))
      let without = try await run("/usr/bin/ollama-pool", ["doctor", "--import"])
      #expect(without.end == .exited(1) && without.errorOutput.contains("there is no ollama.service"))
    }

    private func ailing(_ pool: InstalledPool) async throws {
      let store = "/srv/models-of-root"
      _ = try await run("install", ["-d", "-m", "755", "-o", "root", store])
      try await pool.configure("ollama: \(Self.ollama)-gone\nmodels_path: \(store)")
      let unit = "/run/systemd/system/ollama.service"
      try "[Service]\nExecStart=/bin/sleep infinity\n".write(toFile: unit, atomically: false, encoding: .utf8)
      let holder = try RunningProgram("python3", ["-m", "http.server", "11435", "--bind", "127.0.0.1"])
      try await eventually("the port is held") {
        (try? await HTTPProbe.exchange("GET", "/", port: 11435))?.status == 200
      }
      try await systemctl("daemon-reload")
      try await systemctl("start", "ollama.service")
      let report = try await DoctorReport.read()
      try await systemctl("stop", "ollama.service")
      try FileManager.default.removeItem(atPath: unit)
      try await systemctl("daemon-reload")
      holder.killTree()

      #expect(report.end == .exited(1))
      report.expect(
        "ollama", "problem", "\(Self.ollama)-gone does not exist",
        remedy: "install it (https://ollama.com/download), or correct the key `ollama`")
      report.expect(
        "models", "warning",
        "\(store) (owned by root, rwxr-xr-x) is not the pool's: ollama-pool-instance, which instances run as, can't write",
        remedy: "`chown -R ollama-pool-instance \(store)`")
      report.expect(
        "ollama.service", "problem", "Ollama's own service runs",
        remedy: "`systemctl disable --now ollama.service`")
      report.expect(
        "port", "problem", "127.0.0.1:11435 is held by python3 (process \(holder.processID)",
        remedy: "`kill \(holder.processID)`")
      for daemon in ["dispatcher", "supervisor"] {
        report.expect(daemon, "problem", "not running", remedy: "systemctl start ollama-pool.target")
      }
      // And of what is well nothing else is said.
      report.expectNone(but: ["ollama", "models", "ollama.service", "port", "dispatcher", "supervisor"])
    }
  }
}
