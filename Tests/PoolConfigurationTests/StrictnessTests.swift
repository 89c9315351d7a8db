import Testing

import PoolConfiguration

/// Each message is `FILE:LINE:COLUMN: KEY: what is wrong; expected …`.
@Suite struct StrictnessTests {
  @Test("an unknown key is refused with the nearest known one")
  func unknownKeys() {
    #expect(problems("slot: 1") == ["f:1:1: slot: is no known key; expected slots (did you mean that?)"])
    #expect(
      problems("scaling:\n  mni: 1")
        == ["f:2:3: scaling.mni: is no known key; expected scaling.min (did you mean that?)"])
    #expect(problems("min: 1") == ["f:1:1: min: is no known key; expected scaling.min (did you mean that?)"])
    let far = problems("restarts:\n  abcdefghij: 1")
    #expect(
      far == [
        "f:2:3: restarts.abcdefghij: is no known key; expected one of pause, pause_max, quarantine_after, quarantine"
      ])
    #expect(problems("gpus: [{uuid: GPU-a, node: [/dev/x]}]")[0].contains("gpus[0].nodes (did you mean that?)"))
  }

  @Test(
    "a value of the wrong type or beyond its bounds is refused with what was expected",
    arguments: [
      ("slots: 0", "f:1:8: slots: is 0; expected a whole number from 1 to 1024"),
      ("slots: 1025", "f:1:8: slots: is 1025; expected a whole number from 1 to 1024"),
      ("slots: many", "f:1:8: slots: is many; expected a whole number from 1 to 1024"),
      ("slots: \"2\"", "f:1:8: slots: is the text \"2\"; expected a whole number from 1 to 1024"),
      ("slots: [1]", "f:1:8: slots: is a list; expected a whole number from 1 to 1024"),
      ("slots: {a: 1}", "f:1:8: slots: is a map; expected a whole number from 1 to 1024"),
      ("slots: 99999999999999999999", "f:1:8: slots: is 99999999999999999999; expected a whole number from 1 to 1024"),
      ("slots:", "f:1:7: slots: has no value; expected a whole number from 1 to 1024"),
      ("allow_open_listener: yes", "f:1:22: allow_open_listener: is yes; expected true or false"),
      ("launcher: docker", "f:1:11: launcher: is docker; expected one of auto, systemd, user, child"),
      ("listen: 11434", "f:1:9: listen: is 11434; expected a list of 1 to 16 addresses"),
      ("listen: []", "f:1:9: listen: has 0 entries; expected a list of 1 to 16 addresses"),
      (
        "drain_timeout: 5 minutes",
        "f:1:16: drain_timeout: is 5 minutes; expected a duration from 0s to 24h, such as 250ms, 30s or 10m"
      ),
      (
        "memory_max: 1KiB",
        "f:1:13: memory_max: is 1KiB; expected none or a size from 64MiB to 16TiB, such as 512MiB, 64MB or plain bytes"
      ),
      (
        "instance_user: root",
        "f:1:16: instance_user: is root; expected auto or the name of a user other than root and ollama-pool, the "
          + "dispatcher's"
      ),
      (
        "instance_user: ollama-pool",
        "f:1:16: instance_user: is ollama-pool; expected auto or the name of a user other than root and ollama-pool, the "
          + "dispatcher's"
      ),
      ("scaling: {max: 257}", "f:1:16: scaling.max: is 257; expected all or a whole number from 1 to 256"),
      ("ollama: bin/ollama", "f:1:9: ollama: is bin/ollama; expected auto or an absolute path without .."),
      (
        "models_path: /srv/../data",
        "f:1:14: models_path: is /srv/../data; expected auto or an absolute path without .."
      ),
      ("scaling: 3", "f:1:10: scaling: is 3; expected a map with keys such as policy"),
      ("scaling: {z: -1}", "f:1:14: scaling.z: is -1; expected auto or a number from 0 to 10"),
      ("scaling: {z: .nan}", "f:1:14: scaling.z: is .nan; expected auto or a number from 0 to 10"),
      ("[a]", "f:1:1: the file: is a list; expected a map with keys such as listen"),
      ("hello", "f:1:1: the file: is hello; expected a map with keys such as listen"),
      (
        "preload: [a, b:cloud]",
        "f:1:14: preload[1]: b:cloud is computed elsewhere; expected models that are loaded here"
      ),
      ("preload: [a b]", "f:1:11: preload[0]: is a b; expected a model's name such as llama3.2:3b"),
      (
        "gpus: some", "f:1:7: gpus: is some; expected auto, cpu or a list of 1 to 256 GPUs"
      ),
      (
        "gpus: [{name: x}]",
        "f:1:8: gpus[0].uuid: is missing; expected a GPU's UUID such as GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
      ),
      (
        "gpus: [{uuid: GPU-a, nodes: [/etc/passwd]}]",
        "f:1:30: gpus[0].nodes[0]: is /etc/passwd; expected a device node such as /dev/nvidia0"
      ),
      (
        "placements: [{gpus: []}]",
        "f:1:21: placements[0].gpus: has 0 entries; expected a list of 1 to 64 GPUs' UUIDs or numbers"
      ),
    ])
  func wrongValues(text: String, message: String) {
    #expect(problems(text) == [message])
  }

  @Test(
    "services are named by URLs",
    arguments: [
      ("http://localhost:8080/find?x=1", "localhost", 8080, "/find?x=1"), ("http://10.0.0.5", "10.0.0.5", 80, "/"),
      ("http://[::1]:9/a", "::1", 9, "/a"), ("http://a-b.example?q", "a-b.example", 80, "/?q"),
    ] as [(String, String, UInt16, String)])
  func services(text: String, host: String, port: UInt16, path: String) throws {
    let service = try #require(try settings("sources: {service: \"\(text)\"}").sources.service)
    #expect(service.host == host && service.port == port && service.path == path)
    #expect(ServiceAddress(parsing: service.description) == service)
  }

  @Test(
    "what is no service is refused",
    arguments: [
      "https://a", "a:80", "http://", "http://:80", "http://a:0", "http://a:65536", "http://a:x", "http://u:p@a/",
      "http://a b", "http://a/#b", "http://[a]", "http://[::1", "http://[::1]x", "http://a\\r\\nX: y",
      "http://a/" + String(repeating: "b", count: 2_048),
    ])
  func noServices(text: String) {
    #expect(problems("sources: {service: \"\(text)\"}").count == 1)
  }

  @Test("an index and a service don't go together")
  func twoSources() {
    #expect(
      problems("sources:\n  index: /a/b\n  service: http://a") == [
        "f:3:12: sources.service: http://a:80/ stands beside sources.index; expected one of them, and none for the other"
      ])
  }

  @Test(
    "origins are taken as Ollama takes them",
    arguments: [
      "https://chat.example.org", "http://10.0.0.5:8080", "http://[::1]:3000", "app://obsidian.md", "app://*",
      "file://*",
      "chrome-extension://*", "https://*.example.org", "http://localhost:*", "*://chat.example.org", "*.example.org",
      "*",
    ])
  func origins(origin: String) throws {
    #expect(try settings("origins: [\"\(origin)\"]").origins == [origin])
    if origin.first != "*", !origin.contains("[") { #expect(try settings("origins: [\(origin)]").origins == [origin]) }
  }

  @Test(
    "what is no origin is refused",
    arguments: [
      "https://chat.example.org/", "https://*.example.*", "**", "chat.example.org", "example.*", "https://", "://x", "",
      "https://a,https://b", "https://a b", "1x://a", "*/", "https://" + String(repeating: "a", count: 250),
    ])
  func noOrigins(origin: String) {
    let problems = problems("origins: [\"\(origin)\"]")
    #expect(problems.count == 1)
    #expect(
      problems.first?.hasSuffix(
        "; expected an origin such as https://chat.example.org, https://*.example.org, http://10.0.0.5:8080 or app://*, "
          + "without a path and with one * at most; \"*\" for any") == true)
  }

  @Test("a star without quotes is no origin, and what to do is said; many origins with one are no aliases")
  func unquotedStars() {
    #expect(problems("origins: [*]").count == 1)
    #expect(problems("origins: [*]")[0].hasSuffix("expected quotes around a text that begins with *"))
    #expect(problems("origins: [*.example.org]")[0].hasSuffix("expected quotes around a text that begins with *"))
    let many = (0..<64).map { "https://*.example\($0).org" }.joined(separator: ", ")
    #expect(problems("origins: [\(many)]") == [])
  }

  @Test("what one request may take is bounded by what a buffer takes")
  func requestBody() throws {
    let roomy = "queue: {bodies: 8GiB, request_body: "
    #expect(try settings(roomy + "1GiB}").queue.requestBody == .mebibytes(1024))
    for size in ["1073741825", "4GiB"] {
      #expect(
        problems(roomy + "\(size)}") == [
          "f:1:37: queue.request_body: is \(size); expected a size from 1KiB to 1GiB, such as 512MiB, 64MB or plain bytes"
        ])
    }
  }

  @Test(
    "ids that would leave their folder or be no unit's name are refused",
    arguments: ["..", ".a", "a/b", "A", "-a", "ä", "a b", String(repeating: "a", count: 33)])
  func ids(id: String) {
    #expect(problems("placements: [{id: \"\(id)\", gpus: [GPU-a]}]").count == 1)
  }

  @Test(
    "ids of the allowed letters are taken",
    arguments: ["a", "gpu0", "0", "big_one.x-2", String(repeating: "a", count: 32)])
  func goodIDs(id: String) {
    #expect(problems("placements: [{id: \"\(id)\", gpus: [GPU-a]}]") == [])
  }

  @Test("device nodes cannot climb out of /dev")
  func deviceNodes() {
    #expect(problems("gpus: [{uuid: GPU-a, nodes: [/dev/../etc/shadow]}]").count == 1)
    #expect(problems("gpus: [{uuid: GPU-a, nodes: [/dev/dri/renderD128, /dev/nvidia-caps/nvidia-cap1]}]") == [])
  }

  @Test(
    "a variable that the pool sets is refused with the key to use",
    arguments: [
      ("OLLAMA_HOST", "the key instance_ports"), ("OLLAMA_NUM_PARALLEL", "the key slots"),
      ("OLLAMA_MODELS", "the key models_path"), ("POOL_X", "a name that does not begin with POOL_"),
      ("CUDA_VISIBLE_DEVICES", "the keys gpus and placements, which pin each instance to its own GPUs"),
      ("OLLAMA_VULKAN", "the keys gpus and placements, which pin each instance to its own GPUs"),
    ])
  func reservedVariables(name: String, remedy: String) {
    #expect(
      problems("environment:\n  \(name): 1")
        == ["f:2:3: environment.\(name): is set by the pool; expected \(remedy)"])
    #expect(
      problems("placements: [{gpus: [GPU-a], environment: {\(name): 1}}]")
        == ["f:1:44: placements[0].environment.\(name): is set by the pool; expected \(remedy)"])
  }

  @Test("variables have names and texts of one line")
  func variables() {
    #expect(problems("environment: {\"A=B\": 1}").count == 1)
    #expect(problems("environment: {A: [1]}").count == 1)
    #expect(problems("environment: {A: }").count == 1)
    #expect(problems("environment: {A: \"x\\ny\"}").count == 1)
    #expect(problems("environment: {1A: x}").count == 1)
  }

  @Test("all problems of a file are reported in one go")
  func all() {
    #expect(
      problems("slots: 0\nslot: 1\nscaling: {min: -1}\nlisten: [x]\n").map { $0.split(separator: ":")[1] }
        == ["1", "2", "3", "4"])
  }

  @Test("a duplicate key is reported where it stands the second time, and hides no other problem")
  func duplicates() {
    #expect(
      problems("slots: 1\nlauncher: x\nslots: 2\nlauncher: y\n")
        == [
          "f:2:11: launcher: is x; expected one of auto, systemd, user, child",
          "f:3:1: slots: is given twice, first in line 1; expected each key once",
          "f:4:1: launcher: is given twice, first in line 2; expected each key once",
        ])
    #expect(
      problems("scaling:\n  min: 1\n\n  # so\n  \"min\" : 2\nmin: 3\n")
        == [
          "f:5:3: min: is given twice, first in line 2; expected each key once",
          "f:6:1: min: is no known key; expected scaling.min (did you mean that?)",
        ])
    #expect(
      problems("environment: {A: 1, A: 2}")
        == ["f:1:15: A: is given twice, first in line 1; expected each key once"])
    #expect(problems(String(repeating: "slots: 1\n", count: 100)).count == 20)
  }
}
