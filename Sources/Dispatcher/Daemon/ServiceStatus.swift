import NIOCore
import PoolCore
import Systemd

/// Tells systemd how the daemon is, from the event loop: a loop that hangs pings no watchdog, and is restarted.
struct ServiceStatus {
  /// Each new status wakes whoever watches the unit.
  static let pause: Duration = .seconds(5)

  private let watchdog: RepeatedTask?
  private var told: (text: String, at: Instant)?

  init(loop: any EventLoop) {
    watchdog = ServiceManager.watchdogInterval.map { interval in
      let half = TimeAmount.nanoseconds(max(1_000_000, interval.nanoseconds / 2))
      return loop.scheduleRepeatedTask(initialDelay: .zero, delay: half) { _ in ServiceManager.notifyWatchdog() }
    }
  }

  mutating func update(_ text: String, at now: Instant) {
    if let told, told.text == text || now - told.at < Self.pause { return }
    told = (text, now)
    ServiceManager.notifyStatus(text)
  }

  func close() { watchdog?.cancel() }
}
