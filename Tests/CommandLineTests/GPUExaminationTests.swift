import GPUInventory
import Launching
import PoolConfiguration
import Supervisor
import TestSupport
import Testing

@testable import ollama_pool

/// What is said of GPUs, their nodes, and what would run on them.
@Suite struct GPUExaminationTests {
  private static let user = User.own

  private func gpu(_ uuid: String, _ nodes: [String] = [], vendor: GPU.Vendor = .nvidia) -> GPU {
    var gpu = GPU(index: 0, uuid: uuid, vendor: vendor)
    gpu.deviceNodes = nodes
    return gpu
  }

  private func findings(
    _ gpus: GPU..., problems: [InventoryProblem] = [], amdgpu: String? = nil, isInContainer: Bool = false
  ) -> [Finding] {
    var drivers = KernelDrivers()
    drivers.amdgpu = amdgpu
    return GPUExamination.findings(
      GPUFacts(
        drivers: drivers, inventory: Inventory(source: .drivers, gpus: gpus, problems: problems),
        isInContainer: isInContainer))
  }

  @Test func `a GPU whose nodes are there is well`() throws {
    let folder = try TemporaryDirectory()
    let node = try folder.write("", to: "nvidia0")
    var known = gpu("GPU-a", [node])
    known.name = "H100"
    known.memoryTotal = 80 << 30
    #expect(findings(known) == [.ok("gpus", "H100 GPU-a, 80 GiB: \(node)")])
  }

  @Test func `a machine that had GPUs and has none now has a problem, and no CPU to compute on`() {
    var numbering = GPUNumbering()
    var settings = Settings()
    let none = Inventory(source: .cpu)
    #expect(none.expecting(numbering, settings) == none)
    numbering.add(["GPU-a"])
    let problems = none.expecting(numbering, settings).problems
    let found = findings(problems: problems)
    #expect(found.map(\.status) == [.problem] && found[0].text.contains("there were GPUs on this machine"))
    #expect(found[0].remedy?.contains("the key gpus to cpu") == true)
    settings.allowCPU = true
    #expect(none.expecting(numbering, settings) == none, "the CPU will do")
    settings = Settings()
    settings.gpus = .cpu
    #expect(none.expecting(numbering, settings) == none)
  }

  @Test func `a node that is missing is named, with the command that makes it`() {
    let cases: [(String, String)] = [
      ("/dev/nvidia-uvm", "`nvidia-modprobe -u -c=0`"), ("/dev/nvidia31", "`nvidia-modprobe -u -c=31`"),
    ]
    for (node, remedy) in cases {
      let finding = findings(gpu("GPU-a", [node]))[0]
      #expect(finding.status == .problem && finding.remedy == remedy)
      #expect(finding.text == "nvidia GPU-a: there is no \(node), so an instance would compute on the CPU")
    }
    var slice = gpu("MIG-a", ["/dev/nvidia-caps/nvidia-cap30", "/dev/nvidia2"])
    slice.kind = .slice(of: "GPU-b", gpuInstance: 7, computeInstance: 1)
    let folder = "/proc/driver/nvidia/capabilities/gpu2/mig/gi7"
    #expect(findings(slice)[0].remedy == "`nvidia-modprobe -f \(folder)/access -f \(folder)/ci1/access`")
    let amd = gpu("GPU-1", ["/dev/kfd-none"], vendor: .amd)
    #expect(findings(amd)[0].remedy?.contains("modprobe amdgpu") == true)
    // What is loaded need not be loaded.
    #expect(findings(amd, amdgpu: "")[0].remedy == "the kernel makes it when amdgpu begins: restart the machine")
  }

  @Test func `a container has the nodes that it was started with`() {
    let amd = findings(gpu("GPU-1", ["/dev/kfd-none"], vendor: .amd), amdgpu: "", isInContainer: true)[0]
    #expect(amd.remedy == "start the container with the nodes: `--device /dev/kfd --device /dev/dri`")
    let nvidia = findings(gpu("GPU-a", ["/dev/nvidia-uvm"]), isInContainer: true)[0]
    #expect(nvidia.remedy?.contains("`docker run --gpus all`") == true)
  }

  @Test func `a GPU whose nodes are not known is not shut off from others`() {
    let finding = findings(gpu("GPU-a"))[0]
    #expect(finding.status == .warning && finding.remedy?.contains("`nodes`") == true)
  }

  @Test func `an AMD GPU without an id of its own is pinned by its number, which is said`() {
    var nameless = gpu("AMD-0000-03-00-0", vendor: .amd)
    nameless.isNamedByAddress = true
    nameless.runtimeIndex = 2
    let remark = findings(nameless).last
    #expect(remark?.status == .ok && remark?.text.contains("by its number for AMD's runtime (2)") == true)
  }

  @Test func `problems have what helps against them`() {
    let lost = InventoryProblem(gpu: "GPU-a", subject: "nvmlDeviceGetName", code: 15, text: "GPU is lost")
    let strange = InventoryProblem(gpu: "GPU-b", subject: "/sys/class/x", text: "is empty")
    let unknown = InventoryProblem.unknownGPU("GPU-c", "NVML knows no such GPU")
    let remedies = findings(problems: [lost, strange, unknown]).map { $0.remedy ?? "" }
    #expect(remedies.count == 3 && remedies[0].contains("fallen off the bus"))
    #expect(remedies[1].contains("journalctl -k --grep amdgpu") && remedies[2].contains("correct `gpus`"))
    // What concerns all is the driver's, and said there.
    let silent = InventoryProblem(subject: "nvmlInit_v2", code: 18, text: "mismatch")
    #expect(findings(problems: [silent]).isEmpty)
  }

  // MARK: Nodes

  private func node(_ path: String, _ group: String, _ mode: String, isOpen: Bool) -> DeviceAccess {
    DeviceAccess(
      path: path, owner: "root", group: group, mode: mode, isOpen: isOpen,
      isOfGroupToJoin: !["root", "nogroup"].contains(group))
  }

  private func findings(_ nodes: [DeviceAccess], isOwn: Bool, isInContainer: Bool = false) -> [Finding] {
    var user = Self.user
    user.name = "eva"
    return NodeExamination.findings(nodes, InstancesUser(user: user, isOwn: isOwn), isInContainer: isInContainer)
  }

  @Test func `nodes of one kind are told together`() {
    let nodes = ["/dev/nvidia0", "/dev/nvidiactl"].map { node($0, "root", "rw-rw-rw-", isOpen: true) }
    let kfd = node("/dev/kfd", "render", "rw-rw----", isOpen: true)
    #expect(
      findings(nodes + [kfd], isOwn: false).map(\.text) == [
        "/dev/nvidia0, /dev/nvidiactl (root:root rw-rw-rw-): eva, which instances run as, may open them",
        "/dev/kfd (root:render rw-rw----): eva, which instances run as, may open them",
      ])
  }

  @Test func `a node that is closed to the instances' user is a problem, and the remedy opens it`() {
    let cases: [(String, String, String, own: Bool, String)] = [
      ("/dev/kfd", "render", "rw-rw----", true, "`sudo usermod -aG render eva`, then log in again"),
      ("/dev/nvidia0", "gpu", "rw-rw----", false, "`usermod -aG gpu eva`; instances that start from then on have it"),
      ("/dev/nvidia0", "root", "rw-rw----", false, "NVreg_DeviceFileMode=0666"),
      ("/dev/nvidia0", "gpu", "rw-r-----", false, "`chmod a+rw /dev/nvidia0` until the next boot"),
      ("/dev/nvidia-caps/nvidia-cap1", "root", "r--------", false, "`chmod a+r /dev/nvidia-caps/nvidia-cap1` until"),
      ("/dev/dri/renderD128", "root", "rw-------", false, "KERNEL==\"renderD*\", GROUP=\"render\", MODE=\"0660\""),
      ("/dev/kfd", "root", "rw-------", true, "KERNEL==\"kfd\""),
      // Nobody can be given it.
      ("/dev/kfd", "nogroup", "rw-rw----", true, "KERNEL==\"kfd\""),
    ]
    for (path, group, mode, isOwn, remedy) in cases {
      let finding = findings([node(path, group, mode, isOpen: false)], isOwn: isOwn)[0]
      #expect(finding.status == .problem && finding.text.contains("\(path) (root:\(group) \(mode)): eva"), "\(finding)")
      #expect(finding.remedy?.contains(remedy) == true, "\(finding)")
    }
  }

  @Test func `a group that came after the login is there after the next, and a container's comes with it`() {
    var late = node("/dev/kfd", "render", "rw-rw----", isOpen: false)
    late.isOpenAfterLogin = true
    #expect(findings([late], isOwn: true)[0].remedy == "log in again: eva's groups have changed since")
    let foreign = node("/dev/kfd", "nogroup", "rw-rw----", isOpen: false)
    let remedy = findings([foreign], isOwn: true, isInContainer: true)[0].remedy
    #expect(remedy?.contains("`podman run --group-add keep-groups`") == true)
  }

  // MARK: Placements

  private func placements(_ text: String, _ gpus: GPU...) throws -> [Finding] {
    var numbering = GPUNumbering()
    var counted = gpus
    for index in counted.indices { counted[index].index = index }
    let loaded = try ConfigurationReader.read(text: text, name: "f")
    return PlacementExamination.findings(
      PlacementPlan(loaded, inventory: Inventory(source: .drivers, gpus: counted), numbering: &numbering),
      hasDeviceRules: true)
  }

  private func divided(_ uuid: String) -> GPU {
    var gpu = gpu(uuid)
    gpu.kind = .divided
    return gpu
  }

  @Test func `the pins of each placement are shown as they are set`() throws {
    let findings = try placements("", gpu("GPU-a"), gpu("GPU-1", vendor: .amd))
    #expect(
      findings.map(\.text) == [
        "gpu0: CUDA_VISIBLE_DEVICES=GPU-a GGML_VK_VISIBLE_DEVICES=-1 HIP_VISIBLE_DEVICES=-1 OLLAMA_VULKAN=0 "
          + "ROCR_VISIBLE_DEVICES=-1",
        "gpu1: CUDA_VISIBLE_DEVICES=-1 GGML_VK_VISIBLE_DEVICES=-1 HIP_VISIBLE_DEVICES=0 OLLAMA_VULKAN=0 "
          + "ROCR_VISIBLE_DEVICES=GPU-1",
      ])
    #expect(findings.allSatisfy { $0.status == .ok && $0.check == "placements" })
  }

  @Test func `a GPU without an id of its own is pinned by its number, among those that device rules leave`() throws {
    let folder = try TemporaryDirectory()
    let node = try folder.write("", to: "renderD129")
    var nameless = gpu("AMD-0000-03-00-0", vendor: .amd)
    nameless.isNamedByAddress = true
    nameless.runtimeIndex = 2
    #expect(try placements("", nameless)[0].text.hasSuffix(" ROCR_VISIBLE_DEVICES=2"))
    nameless.deviceNodes = [node]
    #expect(try placements("", nameless)[0].text.hasSuffix(" ROCR_VISIBLE_DEVICES=0"))
  }

  @Test func `a GPU in MIG mode without slices runs nothing, and the remedy makes some`() throws {
    let findings = try placements("", gpu("GPU-a"), divided("GPU-b"))
    #expect(findings.map(\.status) == [.warning, .ok])
    #expect(findings[0].text.hasPrefix("GPU 1 is in MIG mode and has no slices"))
    #expect(findings[0].remedy?.contains("`nvidia-smi mig -i GPU-b -cgi … -C`") == true)
    #expect(findings[0].remedy?.contains("`nvidia-smi -i GPU-b -mig 0`") == true)
    #expect(try placements("", divided("GPU-b")).map(\.status) == [.warning, .problem])
  }

  @Test func `numbers that are closed to whoever looks are said to be`() throws {
    var numbering = GPUNumbering()
    let plan = PlacementPlan(
      .default, inventory: Inventory(source: .drivers, gpus: [gpu("GPU-a")]), numbering: &numbering)
    let findings = PlacementExamination.findings(plan, hasDeviceRules: true, closedNumbers: "/var/lib/ollama-pool")
    #expect(findings.map(\.status) == [.ok, .ok])
    #expect(
      findings[0].text.hasPrefix("/var/lib/ollama-pool is closed to \(User.current), so GPUs may have other numbers"))
  }

  @Test func `an installed pool's numbers are the same for whoever looks`() {
    #expect(Installation(units: "/etc/systemd/system").stateFolder == "/var/lib/ollama-pool")
    #expect(Installation(units: nil).stateFolder == Folders.state())
  }

  @Test func `a placement that can't be is a problem`() throws {
    var slice = gpu("MIG-1")
    slice.kind = .slice(of: "GPU-b", gpuInstance: 1, computeInstance: 0)
    let text = "placements: [{gpus: [GPU-b]}, {gpus: [GPU-a]}, {gpus: [GPU-none]}]\n"
    let findings = try placements(text, gpu("GPU-a"), divided("GPU-b"), slice)
    #expect(findings.map(\.status) == [.problem, .problem, .ok])
    #expect(findings[0].text.contains("GPU-b is divided into MIG slices; expected one of MIG-1"))
    #expect(findings[1].text.contains("GPU-none is not there"))
    #expect(findings[0].remedy == "correct `placements` in the configuration")
  }
}
