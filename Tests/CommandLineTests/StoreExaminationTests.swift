import Foundation
import Launching
import PoolConfiguration
import TestSupport
import Testing

@testable import ollama_pool

/// What is said of the model store, and of whom instances run as.
@Suite struct StoreExaminationTests {
  private func store(_ path: String, service: OllamaService? = nil, setting: Bool = true) -> ModelStore {
    ModelStore.resolve(
      setting: setting ? path : nil, user: .own, home: path, environment: [:], service: service, makesFolders: true)
  }

  private func finding(_ store: ModelStore, freeBytes: Int? = 64 << 30) -> Finding {
    StoreExamination.findings(store, "eva", freeBytes: freeBytes)[0]
  }

  @Test func `path, reason, owner, group, rights, file system and room are told`() throws {
    let folder = try TemporaryDirectory()
    let store = store(folder.path)
    let finding = finding(store)
    #expect(finding.status == .ok)
    let group = User.groupName(of: try #require(store.groupID))
    #expect(
      finding.text.hasPrefix(
        "\(folder.path) (by models_path), owned by \(User.current), rwx------, group \(group), on "))
    #expect(finding.text.hasSuffix(", 64 GiB free; eva, which instances run as, may read and write it"))
    #expect(self.finding(store, freeBytes: 100 << 20).status == .warning)
    #expect(self.finding(store, freeBytes: nil).text.contains("free") == false)
  }

  @Test func `one that is made at the first start says so, and why it is there`() throws {
    let folder = try TemporaryDirectory()
    let finding = finding(store(folder.path, setting: false))
    #expect(finding.status == .ok)
    #expect(
      finding.text
        == "\(folder.path)/.ollama/models (by the home of the instances' user) is not there yet: eva makes it "
        + "at the first start")
  }

  @Test func `a store that is not there is a problem, and one that is passed over is named`() throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write("", to: "file")
    let finding = finding(store(file + "/models"))
    #expect(finding.status == .problem && finding.remedy?.isEmpty == false)
    let service = OllamaService(user: "ollama", modelsPath: folder.path(to: "none"))
    let findings = StoreExamination.findings(
      store(folder.path, service: service, setting: false), "eva", freeBytes: nil)
    #expect(findings.count == 2 && findings[1].status == .ok)
    #expect(
      findings[1].text == "another store is not used: that of ollama.service, \(service.modelsPath), is not there")
  }

  @Test func `instances have a user of their own where units of the system manager start them`() {
    func runsAsAccount(_ change: (inout Settings) -> Void, service: Bool, manager: Bool, account: Bool) -> Bool {
      var settings = Settings()
      change(&settings)
      return InstancesUser.runsAsAccount(
        settings, isService: service, mayUseSystemManager: manager, hasAccount: account)
    }
    #expect(runsAsAccount({ _ in }, service: true, manager: false, account: false))
    #expect(runsAsAccount({ _ in }, service: false, manager: true, account: true))
    #expect(!runsAsAccount({ _ in }, service: false, manager: true, account: false))
    #expect(runsAsAccount({ $0.instanceUser = "eva" }, service: false, manager: true, account: false))
    #expect(!runsAsAccount({ $0.instanceUser = "eva" }, service: false, manager: false, account: true))
    #expect(!runsAsAccount({ $0.launcher = .child }, service: true, manager: true, account: true))
    #expect(!runsAsAccount({ $0.launcher = .user }, service: false, manager: true, account: true))
    #expect(runsAsAccount({ $0.launcher = .systemd }, service: false, manager: false, account: false))
  }

  @Test func `what a file system tells that is nonsense is no end of it`() {
    var status = statvfs()
    (status.f_bavail, status.f_frsize) = (3, 4096)
    #expect(StoreExamination.bytes(free: status) == 12_288)
    (status.f_bavail, status.f_frsize) = (.max, 4096)
    #expect(StoreExamination.bytes(free: status) == .max)
  }

  @Test func `who got the group since the login has to log in again`() {
    #expect(UserExamination.membership(isMember: true, byAccount: false).status == .ok)
    let late = UserExamination.membership(isMember: false, byAccount: true)
    #expect(late.status == .warning && late.remedy?.hasPrefix("log in again: ") == true)
    let never = UserExamination.membership(isMember: false, byAccount: false)
    #expect(never.remedy?.hasPrefix("`sudo usermod -aG ollama-pool ") == true)
  }
}
