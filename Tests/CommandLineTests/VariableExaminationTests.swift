import GPUInventory
import PoolConfiguration
import Testing

@testable import ollama_pool

/// Variables that go against the pins.
@Suite struct VariableExaminationTests {
  private func findings(_ entries: String...) -> [Finding] {
    findings(entries)
  }

  private func findings(_ entries: [String], _ choice: GPUChoice = .auto, hasNVIDIA: Bool? = false) -> [Finding] {
    VariableExamination.findings(
      VariableExamination.variables(entries, of: "this shell"), choice, hasNVIDIA: hasNVIDIA)
  }

  @Test func `what has nothing to do with GPUs is not told`() {
    let well = [Finding.ok("variables", "none goes against the pins")]
    #expect(findings("PATH=/bin", "OLLAMA_VULKAN=0", "NVIDIA_VISIBLE_DEVICES=all", "nonsense", "=") == well)
    #expect(findings("OLLAMA_LLM_LIBRARY=cuda_v13") == well && findings() == well)
  }

  @Test(arguments: [
    "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
  ])
  func `a choice of GPUs that the pool does not go by is told, with what it goes by`(name: String) {
    let finding = findings("\(name)=0,1")[0]
    #expect(finding.status == .warning && finding.text.hasPrefix("\(name)=0,1 of this shell has no effect"))
    #expect(finding.remedy?.contains("list them under `gpus`") == true)
  }

  @Test func `which GPUs the pool goes by is as the configuration says`() {
    let text = { (choice: GPUChoice) in findings(["CUDA_VISIBLE_DEVICES=0"], choice)[0].text }
    #expect(text(.auto).contains("the pool uses all GPUs"))
    #expect(text(.cpu).contains("the pool uses no GPU (`gpus: cpu`)"))
    #expect(text(.list([GPUSettings(uuid: "GPU-a")])).contains("the pool uses the GPUs that are listed under `gpus`"))
  }

  @Test func `CDI sets a variable to void in containers that have GPUs`() {
    #expect(findings(["NVIDIA_VISIBLE_DEVICES=void"], hasNVIDIA: true) == findings())
    // Where none was asked it says nothing.
    #expect(findings(["NVIDIA_VISIBLE_DEVICES=void"], .cpu, hasNVIDIA: nil) == findings())
  }

  @Test func `a GPU that is listed, and that the driver does not know, has not answered`() {
    func facts(_ version: String?, _ problems: [InventoryProblem]) -> GPUFacts {
      var inventory = Inventory(source: .configured, gpus: [GPU(index: 0, uuid: "GPU-a", vendor: .nvidia)])
      (inventory.driverVersion, inventory.problems) = (version, problems)
      return GPUFacts(drivers: KernelDrivers(), inventory: inventory)
    }
    #expect(facts("550", []).hasNVIDIA && !facts(nil, []).hasNVIDIA)
    #expect(!facts("550", [.unknownGPU("GPU-a", "NVML knows no such GPU")]).hasNVIDIA)
  }

  @Test func `what keeps instances from their GPUs is told`() {
    for (entry, text, remedy) in [
      ("OLLAMA_VULKAN=1", "Vulkan ignores the pins", "take it away"),
      ("NVIDIA_VISIBLE_DEVICES=void", "gets no GPU of NVIDIA's", "docker run --gpus all"),
      ("OLLAMA_LLM_LIBRARY=cpu_avx2", "keeps an instance from the GPU", "take it away"),
    ] {
      let finding = findings(entry)[0]
      #expect(finding.status == .warning && finding.text.contains(text), "\(finding)")
      #expect(finding.remedy?.contains(remedy) == true, "\(finding)")
    }
    #expect(findings("HSA_OVERRIDE_GFX_VERSION=11.0.0")[0].status == .ok)
  }

  @Test func `variables of the configuration and of single placements count`() throws {
    let text = """
      environment: {HSA_OVERRIDE_GFX_VERSION: 11.0.0, OLLAMA_DEBUG: "1"}
      gpus: [{uuid: GPU-a}]
      placements: [{id: big, gpus: [0], environment: {OLLAMA_LLM_LIBRARY: cpu}}]
      """
    let settings = try ConfigurationReader.read(text: text, name: "f").settings
    let findings = VariableExamination.findings(
      VariableExamination.configured(settings), settings.gpus, hasNVIDIA: true)
    #expect(findings.map(\.status) == [.ok, .warning])
    #expect(findings[0].text.hasPrefix("HSA_OVERRIDE_GFX_VERSION=11.0.0 of `environment` in the configuration: "))
    #expect(findings[1].text.hasPrefix("OLLAMA_LLM_LIBRARY=cpu of `environment` of placement big keeps"))
  }
}
