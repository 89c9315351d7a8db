import Glibc
import Launching
import PoolConfiguration

/// Where the models are, why there, whose they are, and what follows.
enum StoreExamination {
  private static let check = "models"
  /// Hardly a model is smaller.
  private static let scarce = 1 << 30

  /// - Parameters:
  ///   - environment: the pool's own variables.
  static func run(
    _ settings: Settings, _ user: InstancesUser, environment: [String: String], service: OllamaService?
  ) async -> [Finding] {
    let store: ModelStore?
    do throws(LaunchError) {
      store = try await ModelStore.find(
        for: settings, asOwnUser: user.isOwn, environment: environment, service: service)
    } catch {
      return [.problem(check, error.message, remedy: "correct `instance_user`")]
    }
    guard let store else {
      return [
        .problem(
          check, "the model store does not answer" + (settings.modelsPath.map { ": \($0)" } ?? ""),
          remedy: "look after the file server that it is on")
      ]
    }
    let path = store.path
    let free = await Patience.files.answer(about: path) { freeBytes(path) }
    return findings(store, user.user.name, freeBytes: free ?? nil)
  }

  /// - Parameter user: the one that instances run as.
  static func findings(_ store: ModelStore, _ user: String, freeBytes: Int?) -> [Finding] {
    let passedOver = store.passedOver.map { [Finding.ok(check, "another store is not used: \($0)")] } ?? []
    return [finding(store, user, freeBytes)] + passedOver
  }

  private static func finding(_ store: ModelStore, _ user: String, _ freeBytes: Int?) -> Finding {
    if let refusal = store.refusal {
      return store.isReadable
        ? .warning(
          check, "\(refusal.problem), so nothing can be pulled, and nothing is tidied up (OLLAMA_NOPRUNE=1)",
          remedy: refusal.remedy)
        : .problem(check, refusal.problem, remedy: refusal.remedy)
    }
    guard store.exists else {
      return .ok(
        check, "\(store.path) (by \(store.source.rawValue)) is not there yet: \(user) makes it at the first start")
    }
    let group = store.groupID.map { ", group \(User.groupName(of: $0))" } ?? ""
    let place = store.fileSystem.map { ", on \($0)" } ?? ""
    let free = freeBytes.map { ", \(Quantity.bytes($0)) free" } ?? ""
    let text = "\(store.description)\(group)\(place)\(free); \(user), which instances run as, may read and write it"
    if let freeBytes, freeBytes < scarce {
      return .warning(check, text, remedy: "make room: a pull fails without; `ollama rm` removes a model")
    }
    return .ok(check, text)
  }

  /// For users other than root; nil where that can't be learnt.
  private static func freeBytes(_ path: String) -> Int? {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return nil }
    return bytes(free: status)
  }

  /// A file system in user space may tell any figure.
  static func bytes(free status: statvfs) -> Int {
    let (bytes, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
    return overflow ? .max : Int(clamping: bytes)
  }
}
