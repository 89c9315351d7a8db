import Testing

import PoolConfiguration
import PoolCore

@Suite struct ContradictionTests {
  private static let open = "can be reached from beyond this machine, without authentication"
  private static let ofMetrics = "a loopback address, or allow_open_listener: true to let anyone in"
  private static let remedy =
    "a loopback address, access.anonymous: refuse (then whoever has a key comes in), or allow_open_listener: true to let "
    + "anyone in"

  @Test("an open listener is refused unless the file says so")
  func openListeners() {
    #expect(
      problems("listen: [127.0.0.1:1, 0.0.0.0:11434]")
        == ["f:1:23: listen[1]: 0.0.0.0:11434 \(Self.open); expected \(Self.remedy)"])
    #expect(
      problems("metrics_listen: 10.0.0.1:11435")
        == ["f:1:17: metrics_listen: 10.0.0.1:11435 \(Self.open); expected \(Self.ofMetrics)"])
    #expect(problems("listen: [0.0.0.0:11434]\nallow_open_listener: true") == [])
  }

  @Test("the rule holds for inherited sockets too")
  func inherited() throws {
    let open = try #require(ListenAddress(host: "::", port: 11434))
    let error = #expect(throws: ConfigurationError.self) {
      try Settings().listenerCheck(inherited: [.loopback(port: 11434), open])
    }
    #expect(error?.description == "inherited socket: [::]:11434 \(Self.open); expected \(Self.remedy)")
    var permitting = Settings()
    permitting.allowOpenListener = true
    try permitting.listenerCheck(inherited: [open])
    try Settings().listenerCheck(inherited: [.loopback(port: 11434)])
    var refusing = Settings()
    refusing.access.anonymous = .refuse
    try refusing.listenerCheck(inherited: [open])
  }

  @Test(
    "a listener is open where somebody without a key or a proxy's word comes in by it",
    arguments: [
      ("access: {anonymous: refuse}", 0), ("access: {anonymous: auto}", 1), ("access: {anonymous: allow}", 1),
      ("access: {trusted_proxies: [10.0.0.1]}", 0), ("access: {trusted_proxies: [10.0.0.1], anonymous: allow}", 1),
      ("access: {anonymous: allow}\nallow_open_listener: true", 0),
    ])
  func listenersAndAccess(access: String, count: Int) {
    #expect(problems("listen: [0.0.0.0:11434]\n" + access).count == count)
    // Metrics have no keys.
    let isAllowed = access.contains("allow_open_listener")
    #expect(problems("metrics_listen: 0.0.0.0:11435\n" + access).count == (isAllowed ? 0 : 1))
  }

  @Test("a class that is named is there")
  func classes() {
    let known = "expected one of enterprise, free, standard, or an entry under classes"
    #expect(
      problems("access: {default_class: gold}") == ["f:1:25: access.default_class: there is no class gold; \(known)"])
    #expect(
      problems("access: {anonymous_class: gold}")
        == ["f:1:27: access.anonymous_class: there is no class gold; \(known)"])
    #expect(problems("users: {ann: {class: gold}}") == ["f:1:22: users.ann.class: there is no class gold; \(known)"])
    let settled =
      "classes: {gold: {}}\naccess: {default_class: gold}\nusers: {ann: {class: gold}, bob: {class: default}}"
    #expect(problems(settled) == [])
  }

  @Test("no address is listened on twice")
  func overlaps() {
    #expect(
      problems("listen: [localhost:11434, 127.0.0.1:11434]")
        == ["f:1:27: listen[1]: 127.0.0.1:11434 is taken by listen[0], 127.0.0.1:11434; expected an address of its own"]
    )
    #expect(problems("listen: [11435]").count == 1)
    #expect(problems("allow_open_listener: true\nlisten: [0.0.0.0:11434, 127.0.0.1:11434]").count == 1)
    #expect(problems("listen: [127.0.0.1:0, 127.0.0.1:0]") == [])
    #expect(problems("listen: ['[::1]:11434', 127.0.0.1:11434]") == [])
  }

  @Test("no listener takes an instance's port")
  func instancePorts() {
    #expect(
      problems("listen: [11755]")
        == [
          "f:1:10: listen[0]: port 11755 is kept for instances by instance_ports; "
            + "expected a port outside 11500 to 11755"
        ])
    #expect(problems("listen: [11756]") == [])
    #expect(problems("instance_ports: 11200").count == 2)
    #expect(problems("instance_ports: 65000").count == 1)
  }

  @Test("what must be less is less")
  func bounds() {
    #expect(
      problems("scaling: {min: 3, max: 2}")
        == ["f:1:16: scaling.min: 3 is more than scaling.max, 2; expected at most that"])
    #expect(problems("queue: {bodies: 1MiB}").count == 1)
    #expect(problems("restarts: {pause: 2m}").count == 1)
    #expect(problems("scaling: {min: 2, max: 2}") == [])
  }

  @Test("two placements share a GPU only where both say so")
  func sharing() {
    let gpus = "gpus: [{uuid: GPU-a}, {uuid: GPU-b}]\n"
    #expect(
      problems(gpus + "placements: [{gpus: [0]}, {gpus: [GPU-a]}]")
        == [
          "f:2:35: placements[1].gpus[0]: GPU-a is also used by placements[0]; "
            + "expected a GPU of its own, or shared: true on both"
        ])
    #expect(problems(gpus + "placements: [{gpus: [0], shared: true}, {gpus: [0]}]").count == 1)
    #expect(
      problems(gpus + "placements: [{gpus: [0]}, {gpus: [0], shared: true}, {gpus: [0], shared: true}]").count == 2)
    #expect(problems(gpus + "placements: [{gpus: [0], shared: true}, {id: b, gpus: [0], shared: true}]") == [])
    #expect(problems(gpus + "placements: [{gpus: [0]}, {gpus: [1]}]") == [])
    #expect(problems("placements: [{gpus: [0]}, {gpus: [0]}]").count == 1)
  }

  @Test("a placement names known GPUs, each once")
  func unknownGPUs() {
    let gpus = "gpus: [{uuid: GPU-a}, {uuid: GPU-b}]\n"
    #expect(
      problems(gpus + "placements: [{gpus: [2]}]")
        == ["f:2:22: placements[0].gpus[0]: 2 is no known GPU; expected one of 0 (GPU-a), 1 (GPU-b)"])
    #expect(problems(gpus + "placements: [{gpus: [GPU-c]}]").count == 1)
    #expect(problems(gpus + "placements: [{gpus: [0, GPU-a]}]").count == 1)
    #expect(problems("placements: [{gpus: [7]}]") == [])
    #expect(problems("gpus: cpu\nplacements: [{gpus: [0]}]").count == 1)
    #expect(problems("gpus: [{uuid: GPU-a}, {uuid: GPU-a}]").count == 1)
  }

  @Test("what the file could not know is checked with the GPUs found")
  func runTime() throws {
    let read = try settings("placements: [{gpus: [0]}, {gpus: [GPU-a]}, {gpus: [3]}]")
    #expect(
      read.placementProblems(knownGPUs: ["GPU-a", "GPU-b"]).map(\.problem.key) == [
        "placements[1].gpus[0]", "placements[2].gpus[0]",
      ])
    #expect(Settings().placementProblems(knownGPUs: []).isEmpty)
  }

  @Test("ids are given once")
  func duplicateIDs() {
    #expect(
      problems("placements: [{id: a, gpus: [0]}, {id: a, gpus: [1]}]")
        == ["f:1:39: placements[1].id: a is also the id of placements[0]; expected each id once"])
    // Without one it follows from the GPU.
    #expect(
      problems("gpus: [{uuid: GPU-a}, {uuid: GPU-b}]\nplacements: [{id: gpu1, gpus: [0]}, {gpus: [GPU-b]}]")
        == ["f:2:44: placements[1].id: gpu1 is also the id of placements[0]; expected each id once"])
    #expect(problems("placements: [{gpus: [0], shared: true}, {gpus: [0], shared: true}]").count == 1)
    #expect(problems("placements: [{gpus: [0]}, {gpus: [GPU-b]}, {id: gpu1, gpus: [2]}]") == [])
  }

  @Test("groups are made by the pool or listed, not both")
  func groups() {
    #expect(
      problems("gpus_per_instance: 2\nplacements: [{gpus: [0, 1]}]")
        == [
          "f:1:20: gpus_per_instance: is 2, and placements lists the instances with their GPUs; expected one of the two"
        ])
    #expect(problems("gpus_per_instance: 2") == [])
  }

  @Test("what instances need must fit on their GPUs, also beside those that share them")
  func memory() {
    let gpus = "gpus: [{uuid: GPU-a, memory: 24GiB}, {uuid: GPU-b, memory: 24GiB}, {uuid: GPU-c}]\n"
    #expect(
      problems(gpus + "placements: [{gpus: [0], gpu_memory: 25GiB}]")
        == [
          "f:2:38: placements[0].gpu_memory: its instance needs 25GiB of GPU memory, and its GPUs have 24GiB; "
            + "expected less, or more GPUs"
        ])
    #expect(problems(gpus + "placements: [{gpus: [0, 1], gpu_memory: 48GiB}]") == [])
    #expect(problems(gpus + "placements: [{gpus: [2], gpu_memory: 100GiB}]") == [], "nobody knows its memory")
    let shared = gpus + "placements: [{id: a, gpus: [0], shared: true, gpu_memory: 16GiB}, "
    #expect(problems(shared + "{id: b, gpus: [0], shared: true, gpu_memory: 8GiB}]") == [])
    #expect(
      problems(shared + "{id: b, gpus: [0], shared: true, gpu_memory: 9GiB}]").first?.contains(
        "needs 9GiB of GPU memory, and its GPUs have 8GiB beside those that share them") == true)
    // What the models under preload take, where nothing else is said.
    let models = "preload: [m, n:latest]\nmodels: {m: {gpu_memory: 20GiB}, N: {gpu_memory: 5GiB}}\n"
    #expect(problems(gpus + models + "placements: [{gpus: [0]}]").count == 1)
    #expect(problems(gpus + models + "placements: [{gpus: [0], models: [m]}]") == [])
  }

  @Test("a placement that can't be takes nothing from the others")
  func problemsOfTheirOwn() {
    let gpus = "gpus: [{uuid: GPU-a, memory: 80GiB}, {uuid: GPU-b, memory: 80GiB}]\n"
    let shared = "{gpus: [0], shared: true, gpu_memory: 40GiB}"
    #expect(
      problems(gpus + "placements: [{id: a, gpus: [0], shared: true, gpu_memory: 800GiB}, \(shared)]").map {
        String($0.prefix(38))
      } == ["f:2:59: placements[0].gpu_memory: its "])
    #expect(problems(gpus + "placements: [{id: a, gpus: [0, 0]}, {gpus: [0]}, {id: a, gpus: [1]}]").count == 1)
  }

  @Test("a model is named once, and its bounds agree")
  func models() {
    #expect(
      problems("models: {m: {num_ctx: 512}, M:latest: {num_ctx: 512}}")
        == ["f:1:13: models.m: is the same model as M:latest; expected each model once"])
    #expect(
      problems("models: {m: {num_ctx: 512, max_num_ctx: 256}}")
        == ["f:1:23: models.m.num_ctx: 512 is more than max_num_ctx, 256; expected at most that"])
    #expect(
      problems("models: {m: {num_ctxx: 512}}")
        == ["f:1:14: models.m.num_ctxx: is no known key; expected models.m.num_ctx (did you mean that?)"])
    #expect(problems("models: {'a b': {}}").count == 1)
    #expect(problems("models: [m]").count == 1)
  }
}
