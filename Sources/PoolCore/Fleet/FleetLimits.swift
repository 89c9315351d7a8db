/// Bounds of the supervision, from the configuration.
package struct FleetLimits: Hashable, Sendable {
  package var restarts = Restarts.Limits()
  /// From the unit running to the dispatcher's "healthy"; beyond, it is killed and counts as failed.
  package var startTimeout: Duration = .seconds(300)
  /// For how long an instance may be unhealthy for a reason that can pass before it is replaced.
  package var unhealthyGrace: Duration = .seconds(5)

  package init() {}
}
