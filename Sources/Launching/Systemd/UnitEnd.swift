import Glibc
import PoolCore
import Systemd

/// How a unit ended, in words.
enum UnitEnd {
  /// - Parameters:
  ///   - specification: nil for a unit of an earlier supervisor.
  ///   - complaint: what the instance said about it.
  static func reason(
    _ state: UnitState, id: InstanceID, specification: InstanceSpecification? = nil, complaint: String? = nil
  ) -> String {
    switch state.result {
    case "success": state.execMainCode == CLD_EXITED ? "exit status 0" : "stopped"
    case "exit-code" where isOfProgram(state):
      "exit status \(state.execMainStatus)"
        + (complaint.map { ": \($0)" } ?? "; journalctl POOL_INSTANCE=\(id) has its own words")
    case "exit-code": exit(state.execMainStatus, specification)
    case "signal": "killed by \(SignalName.of(state.execMainStatus))"
    case "core-dump": "crashed with \(SignalName.of(state.execMainStatus))"
    case "oom-kill":
      "oom-kill: it ran out of memory"
        + (specification?.memoryMax.map { " (memory_max is \($0))" } ?? "")
    case "timeout": "did not end within \(InstanceSpecification.stopGrace.components.seconds) s, and was killed"
    case "resources": "systemd could not set it up (result 'resources'); its journal says more"
    case "": "it is gone, and systemd does not know why"
    default: "result '\(state.result)', status \(state.execMainStatus)"
    }
  }

  /// Whether it ended with a status of the instance's own, about which the instance itself knows best.
  static func isOfProgram(_ state: UnitState) -> Bool { state.result == "exit-code" && state.execMainStatus < 200 }

  /// Whether it could not be kept to its CPUs or its memory: systemd.exec(5), CPUAFFINITY and NUMA_POLICY.
  static func isForWantOfLocalResources(_ state: UnitState) -> Bool {
    state.result == "exit-code" && [215, 242].contains(state.execMainStatus)
  }

  /// Statuses from 200 are systemd's own, for what went wrong before the program ran: systemd.exec(5), "Process Exit
  /// Codes".
  private static func exit(_ status: Int32, _ specification: InstanceSpecification?) -> String {
    let program = specification?.executable.path ?? "the program"
    let user = specification?.user ?? "the instances' user"
    let cause: String? =
      switch status {
      case 200: "CHDIR: no working directory"
      case 203: "EXEC: \(program) is missing, or \(user) may not execute it"
      case 205: "LIMITS: a resource limit could not be set"
      case 206: "OOM_ADJUST: the OOM score could not be set"
      case 216: "GROUP: the groups render and video, or the user's own, could not be taken on"
      case 217: "USER: \(user) does not exist"
      case 218: "CAPABILITIES: privileges could not be dropped"
      case 219: "CGROUP: its control group could not be set up"
      case 226: "NAMESPACE: its view of the file system could not be set up; \(folders(specification))"
      case 227: "NO_NEW_PRIVILEGES"
      case 228: "SECCOMP: its system call filter could not be installed"
      case 237: "KEYRING"
      case 238: "STATE_DIRECTORY: /var/lib/\(InstanceAccount.ownName) could not be made"
      default: nil
      }
    return cause.map { "exit status \(status) (\($0))" } ?? "exit status \(status)"
  }

  private static func folders(_ specification: InstanceSpecification?) -> String {
    "do " + (specification?.modelsPath.map { "models_path \($0) and " } ?? "") + "the user's home exist?"
  }
}
