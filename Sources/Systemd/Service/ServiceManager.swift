import CSystemd
import Glibc

/// What a daemon tells the systemd that started it: sd_notify(3). Where nobody did ($NOTIFY_SOCKET is not set)
/// everything here does nothing.
package enum ServiceManager {
  /// Whether this machine runs under systemd.
  package static var isBooted: Bool { sd_booted() > 0 }

  /// Start-up, or a reload, is through.
  package static func notifyReady(status: String? = nil) { notify("READY=1", status: status) }

  /// One line for `systemctl status`.
  package static func notifyStatus(_ status: String) { notify(status: status) }

  /// The configuration is being read again; ``notifyReady(status:)`` ends it. With the time, so that
  /// `Type=notify-reload` (systemd 253) works too.
  package static func notifyReloading(status: String? = nil) {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    notify("RELOADING=1", "MONOTONIC_USEC=\(time.tv_sec * 1_000_000 + time.tv_nsec / 1000)", status: status)
  }

  /// The daemon is on its way out.
  package static func notifyStopping(status: String? = nil) { notify("STOPPING=1", status: status) }

  /// Start, runtime or stop time-outs end no earlier than this from now. To be repeated before it is over.
  package static func extendTimeout(by time: Duration) { notify("EXTEND_TIMEOUT_USEC=\(time.microseconds)") }

  /// Still alive.
  package static func notifyWatchdog() { notify("WATCHDOG=1") }

  /// WatchdogSec= of the unit: without ``notifyWatchdog()`` for that long the daemon is killed. Half of it is a good
  /// pause between two. nil where no watchdog is wanted of this process.
  package static var watchdogInterval: Duration? {
    var microseconds: UInt64 = 0
    guard sd_watchdog_enabled(0, &microseconds) > 0 else { return nil }
    return .microseconds(Int64(clamping: microseconds))
  }

  /// To be called by a daemon that has said why it can't go on, before it ends. It would be started again by Restart=,
  /// or by who waits in its socket, and that must not happen many times a second. Not by ExecStopPost=: systemd doesn't
  /// stop what is ending already before it restarts the socket, and then refuses the socket. SIGTERM ends the pause.
  package static func pauseAfterFailure() async {
    guard getenv("NOTIFY_SOCKET") != nil else { return }
    signal(SIGTERM, SIG_DFL)
    try? await Task.sleep(for: .seconds(5))
  }

  private static func notify(_ assignments: String..., status: String? = nil) {
    // A line break would begin an assignment of its own.
    let status = status.map { "STATUS=" + String($0.map { $0.isNewline ? " " : $0 }) }
    _ = sd_notify(0, (assignments + (status.map { [$0] } ?? [])).joined(separator: "\n"))
  }
}
