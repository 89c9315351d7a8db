/// Whether something may stand in for what a pool asks for in vain: child processes for units where systemd does not
/// answer, and the simulator, whose answers are made up, for `ollama` where there is none.
package enum StandIns: Sendable, Equatable {
  /// For `serve`, which is to run anywhere.
  case allowed
  /// For an installed pool, whose users count on what they were promised: better nothing, told loudly, until it is
  /// back.
  case refused
}
