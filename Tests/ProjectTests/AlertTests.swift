import Foundation
import TestSupport
import Testing

/// config/prometheus-alerts.yaml, as Prometheus itself reads it.
struct AlertTests {
  private static let alerts = PackageRoot.path(to: "config/prometheus-alerts.yaml")

  @Test(.enabled(if: Promtool.isHere, Promtool.remedy)) func `promtool accepts the alerts`() async throws {
    let verdict = try await Promtool.ask("check", "rules", Self.alerts)
    #expect(verdict.isFine, "\(verdict.text)")
  }

  @Test(.enabled(if: Promtool.isHere, Promtool.remedy)) func `they fire when they should, and not before`() async throws
  {
    let script = PackageRoot.path(to: "Tests/ProjectTests/alert-timelines.yaml")
    let verdict = try await Promtool.ask("test", "rules", script)
    #expect(verdict.isFine, "\(verdict.text)")
  }

  @Test func `they speak of metrics and states that there are`() async throws {
    let alerts = try Repository.text("config/prometheus-alerts.yaml")
    let metrics = Set(alerts.matches(of: /\bollama_pool_\w+/).map { String($0.0) })
    #expect(metrics.count >= 4)
    let shells = try Repository.files(below: "Sources", ".swift").filter { !$0.hasPrefix("Sources/ollama-") }
    for metric in metrics {
      #expect(try await !Repository.lines(of: shells, matching: "\"\(metric)\"").isEmpty, "\(metric)")
    }
    // The states of GPUs are those of the control interface.
    let exporting = shells.filter {
      $0.hasPrefix("Sources/Dispatcher/") && $0.contains("Metrics") || $0.hasSuffix("/SupervisorTypes.swift")
    }
    for state in alerts.matches(of: /\{state="(\w+)"\}/) {
      #expect(try await !Repository.code(of: exporting, matching: #"\b\#(state.1)\b"#).isEmpty, "\(state.1)")
    }
  }
}
