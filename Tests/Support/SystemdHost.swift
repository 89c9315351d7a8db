import Foundation
package import Testing

/// Whether this process runs inside the private systemd that `Tests/with-systemd` boots.
///
/// Suites that start units say `.enabled(if: SystemdHost.isAvailable, SystemdHost.remedy)`: they never touch
/// the systemd of the machine that someone works on.
package enum SystemdHost {
  package static let remedy: Comment = "needs a private systemd: run `make test` as root"

  /// The runner sets the variable; PID 1 is checked too, so that a stray variable alone does nothing.
  package static let isAvailable =
    ProcessInfo.processInfo.environment["OLLAMA_POOL_SYSTEM_TESTS"] == "1"
    && (try? String(contentsOfFile: "/proc/1/comm", encoding: .utf8)) == "systemd\n"
    && (try? String(contentsOfFile: "/proc/1/environ", encoding: .utf8))?
      .split(separator: "\0").contains("container=with-systemd") == true
}
