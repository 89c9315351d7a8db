import PoolConfiguration
import Testing

@testable import ollama_pool

@Suite struct OllamaServiceImportTests {
  private static let nvidia = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
  private static let slice = "MIG-8932f937-d72c-4106-c12f-20bd9faed9f7"
  private static let amd = "GPU-0123456789abcdef"

  private func lines(_ environment: [String], user: String? = "ollama", program: String? = "/usr/local/bin/ollama")
    -> [String]
  {
    let service = OllamaServiceImport.Service(environment: environment, user: user, program: program)
    return OllamaServiceImport(service: service).text.split(separator: "\n").map(String.init).filter {
      !$0.hasPrefix("# What") && !$0.hasPrefix("#  ") && $0 != "#"
    }
  }

  private func settings(_ environment: [String], user: String? = "ollama") throws -> Settings {
    let service = OllamaServiceImport.Service(environment: environment, user: user, program: nil)
    return try ConfigurationReader.read(text: OllamaServiceImport(service: service).text, name: "f").settings
  }

  @Test func `what the service was told becomes the pool's keys`() throws {
    let settings = try settings(
      [
        "OLLAMA_MODELS=/srv/models", "OLLAMA_NUM_PARALLEL=4", "OLLAMA_CONTEXT_LENGTH=8192", "OLLAMA_KEEP_ALIVE=-1",
        "OLLAMA_MAX_QUEUE=2000", "OLLAMA_ORIGINS=https://a.example.org,https://*.b.example.org",
        "CUDA_VISIBLE_DEVICES=\(Self.nvidia),\(Self.slice)", "OLLAMA_FLASH_ATTENTION=1",
        "HTTPS_PROXY=http://proxy:3128",
        "OLLAMA_HOST=127.0.0.1:8080",
      ], user: "llm")
    #expect(settings.modelsPath == "/srv/models" && settings.slots == 4 && settings.contextLength == 8_192)
    #expect(settings.keepAlive == .forever && settings.queue.requests == 2_000 && settings.instanceUser == "llm")
    #expect(settings.origins == ["https://a.example.org", "https://*.b.example.org"])
    #expect(settings.environment == ["OLLAMA_FLASH_ATTENTION": "1", "HTTPS_PROXY": "http://proxy:3128"])
    #expect(settings.listen.map(\.description) == ["127.0.0.1:8080"])
    guard case .list(let gpus) = settings.gpus else { return #expect(Bool(false), "no list of GPUs") }
    #expect(gpus.map(\.uuid) == [Self.nvidia, Self.slice])
  }

  @Test func `an address beyond this machine is left to the operator`() throws {
    for host in ["0.0.0.0", "0.0.0.0:11434", "http://0.0.0.0:11434", ":11434"] {
      let lines = lines(["OLLAMA_HOST=\(host)"])
      #expect(lines.suffix(2) == ["#listen: [\"0.0.0.0:11434\"]", "#allow_open_listener: true"], "\(host)")
      #expect(try settings(["OLLAMA_HOST=\(host)"]) == Settings(), "\(host)")
    }
    #expect(lines(["OLLAMA_HOST=[::]:11434"]).contains("#listen: [\"[::]:11434\"]"))
  }

  @Test func `what the pool decides by itself, and the defaults, leave no trace in the settings`() throws {
    let environment = [
      "OLLAMA_HOST=127.0.0.1", "OLLAMA_VULKAN=1", "GGML_VK_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=0,1", "PATH=/bin",
      "HOME=/x", "OLLAMA_NUM_PARALLEL=0", "OLLAMA_NOPRUNE=1", "nonsense",
    ]
    #expect(try settings(environment) == Settings())
    let text = lines(environment).joined(separator: "\n")
    #expect(text.contains("# CUDA_VISIBLE_DEVICES=0,1 is not taken: the pool uses all GPUs"))
    #expect(text.contains("# OLLAMA_VULKAN is not taken: the pool sets it by the keys gpus and placements"))
  }

  @Test func `no secret and no nonsense comes out`() throws {
    let text = lines([
      "OPENAI_API_KEY=hunter2", "OLLAMA_KEEP_ALIVE=\u{1b}[2Jx", "OLLAMA_NUM_PARALLEL=many", "OLLAMA_MODELS=relative",
      "X=a\"b\\c: d", "Y=\u{7}",
    ]).joined(separator: "\n")
    #expect(!text.contains("hunter2") && !text.contains("\u{1b}") && !text.contains("\u{7}"))
    #expect(text.contains("# OLLAMA_NUM_PARALLEL=many is not taken: slots does not accept it"))
    #expect(text.contains("# OLLAMA_MODELS=relative is not taken: models_path does not accept it"))
    #expect(try settings(["X=a\"b\\c: d"]).environment == ["X": "a\"b\\c: d"])
  }

  @Test func `GPUs of both vendors make one list`() throws {
    let environment = ["CUDA_VISIBLE_DEVICES=\(Self.nvidia)", "ROCR_VISIBLE_DEVICES=\(Self.amd)"]
    guard case .list(let gpus) = try settings(environment).gpus else { return #expect(Bool(false), "no list of GPUs") }
    #expect(gpus.map(\.uuid) == [Self.nvidia, Self.amd] && gpus.map(\.vendor) == [.nvidia, .amd])
  }

  @Test(arguments: ["NoDevFiles", "-1", "", "GPU-8932", "\(nvidia),GPU-8932", "\(nvidia)0", "GPU-0123456789abcdef"])
  func `what is no whole UUID is not taken`(devices: String) throws {
    let environment = ["CUDA_VISIBLE_DEVICES=\(devices)"]
    #expect(try settings(environment) == Settings())
    #expect(lines(environment).contains { $0.hasPrefix("# CUDA_VISIBLE_DEVICES=\(devices) is not taken") })
  }

  @Test func `what does not go together is left to the operator`() throws {
    let environment = ["CUDA_VISIBLE_DEVICES=\(Self.nvidia),\(Self.nvidia)", "OLLAMA_NUM_PARALLEL=4"]
    #expect(try settings(environment) == Settings())
    let lines = lines(environment)
    #expect(lines.contains("#slots: 4") && lines.last?.contains("don't go together") == true)
  }

  @Test(arguments: ["http://user:hunter2@proxy:3128", "http://hunter2@proxy", "user:hunter2@proxy:3128"])
  func `no password of a URL comes out`(proxy: String) throws {
    for name in ["HTTPS_PROXY", "OLLAMA_HOST", "OLLAMA_KEEP_ALIVE"] {
      #expect(!lines(["\(name)=\(proxy)"]).joined().contains("hunter2"))
      #expect(lines(["\(name)=\(proxy)"]).contains { $0.hasPrefix("# \(name) is not taken: a user's name") })
    }
    #expect(try settings(["A=me@example.org"]).environment == ["A": "me@example.org"])
  }

  @Test func `the store and files with more variables are comments`() throws {
    var service = OllamaServiceImport.Service(environment: ["OLLAMA_DEBUG=1"], user: "ollama", program: nil)
    service.environmentFiles = ["/etc/default/ollama"]
    let imported = OllamaServiceImport(
      service: service, store: ["The models: /srv/\u{1b}[2Jmodels.", "Not the pool's."])
    let lines = imported.text.split(separator: "\n")
    #expect(lines.contains("# The models: /srv/ [2Jmodels.") && lines.contains("# Not the pool's."))
    #expect(lines.contains { $0.hasPrefix("# EnvironmentFile=/etc/default/ollama is not taken") })
    let settings = try ConfigurationReader.read(text: imported.text, name: "f").settings
    #expect(settings.environment == ["OLLAMA_DEBUG": "1"])
  }

  @Test func `root is no user for instances`() {
    #expect(lines([], user: nil).contains { $0.contains("It runs as root") })
    #expect(lines([], program: "/srv/ollama/bin/ollama") == ["ollama: \"/srv/ollama/bin/ollama\""])
  }
}
