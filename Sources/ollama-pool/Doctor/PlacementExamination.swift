import GPUInventory
import Launching
import PoolConfiguration
import Supervisor

/// What would run where, and pinned how.
enum PlacementExamination {
  private static let check = "placements"

  /// - Parameters:
  ///   - hasDeviceRules: whether instances run as units of the system manager, which hide other GPUs from them.
  ///   - closedNumbers: the folder with the numbers of the GPUs, where they could not be read.
  static func findings(_ plan: PlacementPlan, hasDeviceRules: Bool, closedNumbers: String? = nil) -> [Finding] {
    let leftOut = plan.leftOut.map {
      Finding.problem(check, "\($0.problem)", remedy: "correct `placements` in the configuration")
    }
    let remarks = plan.remarks.map { Finding.warning(check, $0.what, remedy: $0.remedy) }
    let none = Finding.problem(
      check, "there is none, so no instance can be started", remedy: "see to what is amiss with GPUs and placements")
    let uncertain = closedNumbers.map {
      [
        Finding.ok(
          check,
          "\($0) is closed to \(User.current), so GPUs may have other numbers below than in the pool: see as root")
      ]
    }
    return leftOut + remarks + (uncertain ?? [])
      + (plan.sites.isEmpty ? [none] : plan.sites.map { pins($0, hasDeviceRules) })
  }

  /// As they stand in the instance's environment.
  private static func pins(_ site: PlacementPlan.Site, _ hasDeviceRules: Bool) -> Finding {
    let isRestricted = hasDeviceRules && site.gpus.allSatisfy { !$0.deviceNodes.isEmpty }
    let pins = InstanceSpecification.pins(of: site.gpus.map(\.pin), othersAreHidden: isRestricted)
    let list = pins.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
    return .ok(check, "\(site.id): \(list)" + (site.reason.map { " (\($0))" } ?? ""))
  }
}
