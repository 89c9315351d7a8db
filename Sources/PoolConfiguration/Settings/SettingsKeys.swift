import PoolCore

/// Every key of the file, with the form and the bounds of its value.
enum SettingsKeys {
  static let slotBounds = 1...1024

  /// From 50 milliseconds, below which a limit would only be an accident, to a day.
  private static let limit: ClosedRange<Duration> = .milliseconds(50) ... .seconds(86_400)

  private static let contextLength = ValueFormat.integer(256...16_777_216)
  private static let gpuMemory = ValueFormat.size(.mebibytes(1) ... .mebibytes(1 << 24))

  static let all = KeyMap<Settings>([
    .value("listen", \.listen, ValueFormat.address.list("addresses", least: 1, most: 16)),
    .value("allow_open_listener", \.allowOpenListener, .boolean),
    .value("origins", \.origins, ValueFormat.origin.list("origins", most: 64)),
    .group("access", access),
    .merged("classes", \.classes, .classes),
    .merged("users", \.users, .users),
    .value("metrics_listen", \.metricsListen, ValueFormat.address.orNone("off")),
    .value("launcher", \.launcher, .choice),
    .value("ollama", \.ollama, ValueFormat.absolutePath.orNone("auto")),
    .value("instance_user", \.instanceUser, ValueFormat.userName.orNone("auto")),
    // The upper bound leaves room for the whole span.
    .value("instance_ports", \.instancePorts, .port(1_024...64_000)),
    .value("slots", \.slots, .integer(slotBounds)),
    .value("models_path", \.modelsPath, ValueFormat.absolutePath.orNone("auto")),
    .value("context_length", \.contextLength, contextLength.orNone("auto")),
    .value("keep_alive", \.keepAlive, ValueFormat.keepAlive.orNone("auto")),
    .value("preload", \.preload, ValueFormat.modelName.list("models", most: 64)),
    .value("read_ahead", \.readAhead, .boolean),
    .merged("environment", \.environment, .environment),
    .value("memory_max", \.memoryMax, ValueFormat.size(.mebibytes(64) ... .mebibytes(1 << 24)).orNone("none")),
    .merged("models", \.models, .models),
    .value("gpus", \.gpus, .gpus),
    .value("placements", \.placements, .placements),
    .value("gpus_per_instance", \.gpusPerInstance, .integer(1...64)),
    .value("numa_binding", \.numaBinding, .boolean),
    .value("gpu_memory", \.gpuMemory, gpuMemory.orNone("auto")),
    .value("busy_memory", \.busyMemory, .size(ByteCount(bytes: 0) ... .mebibytes(1 << 24))),
    .value("yield_to_others", \.yieldToOthers, .boolean),
    .value("yield_after", \.yieldAfter, .duration(.seconds(1) ... .seconds(86_400))),
    .value("allow_cpu", \.allowCPU, .boolean),
    .group("scaling", scaling),
    .group("queue", queue),
    .group("history", history),
    .group("chat", chat),
    .group("sources", sources),
    .group("health", health),
    .group("restarts", restarts),
    .value("drain_timeout", \.drainTimeout, .duration(.zero ... .seconds(86_400))),
  ])

  private static let scaling: [Key<Settings>] = [
    .value("policy", \.scaling.policy, .choice),
    .value("min", \.scaling.min, .integer(0...Placement.most)),
    .value("max", \.scaling.max, ValueFormat.integer(1...Placement.most).orNone("all")),
    .value("schedule", \.scaling.schedule, .schedule),
    .value("z", \.scaling.z, ValueFormat.number(0...10).orNone("auto"), note: { $0.scaling.noteOnZ }),
    .value(
      "smoothing", \.scaling.smoothing, ValueFormat.duration(.zero ... .seconds(3_600)).orNone("auto"),
      note: { $0.scaling.noteOnSmoothing }),
    .value(
      "window", \.scaling.window, ValueFormat.duration(.seconds(1) ... .seconds(86_400)).orNone("auto"),
      note: { $0.scaling.noteOnWindow }),
    .value("shrink", \.scaling.shrink, ValueFormat.share.orNone("auto"), note: { $0.scaling.noteOnShrink }),
    .value(
      "shrink_period", \.scaling.shrinkPeriod,
      ValueFormat.duration(.seconds(1) ... .seconds(604_800)).orNone("auto"),
      note: { $0.scaling.noteOnShrinkPeriod }),
    .value("idle_hold", \.scaling.idleHold, .duration(.zero ... .seconds(86_400))),
    .value("zero_hold", \.scaling.zeroHold, .duration(.zero ... .seconds(86_400))),
    .value("cold_start", \.scaling.coldStart, .duration(.milliseconds(100) ... .seconds(3_600))),
    .value("parallel_starts", \.scaling.parallelStarts, .integer(1...Placement.most)),
  ]

  private static let history: [Key<Settings>] = [
    .value("age", \.history.age, .duration(.seconds(3_600) ... .seconds(8_784 * 3_600))),
    .value("requests", \.history.requests, .integer(0...10_000_000)),
  ]

  private static let queue: [Key<Settings>] = [
    .value("requests", \.queue.requests, .integer(1...1_000_000)),
    .value("bodies", \.queue.bodies, .size(.mebibytes(1) ... .mebibytes(1 << 20))),
    // The most that NIO's buffers grow to is twice as much.
    .value("request_body", \.queue.requestBody, .size(ByteCount(bytes: 1_024) ... .mebibytes(1 << 10))),
    .value("maximum_wait", \.queue.maximumWait, ValueFormat.duration(limit).orNone("none")),
    .value("fair", \.queue.fair, .boolean),
    .value("aging", \.queue.aging, ValueFormat.duration(.seconds(1) ... .seconds(86_400)).orNone("never")),
    .value("assumed_service", \.queue.assumedService, .duration(.milliseconds(1) ... .seconds(86_400))),
  ]

  private static let access: [Key<Settings>] = [
    .value("anonymous", \.access.anonymous, .choice),
    .value("trusted_proxies", \.access.trustedProxies, ValueFormat.proxies.list("addresses or networks", most: 64)),
    .value("user_header", \.access.userHeader, .userHeader),
    .value("default_class", \.access.defaultClass, .className),
    .value("anonymous_class", \.access.anonymousClass, .className),
  ]

  private static let chat: [Key<Settings>] = [
    .value("default_model", \.chat.defaultModel, ValueFormat.modelName.orNone("auto")),
    .value("instructions", \.chat.instructions, ValueFormat.instructions.orNone("none")),
    .value("resume_within", \.chat.resumeWithin, .duration(.seconds(1) ... .seconds(3_600))),
    .value("history_messages", \.chat.historyMessages, .integer(0...200)),
    .value("session_lifetime", \.chat.sessionLifetime, .duration(.seconds(60) ... .seconds(366 * 86_400))),
  ]

  private static let sources: [Key<Settings>] = [
    .value("index", \.sources.index, ValueFormat.absolutePath.orNone("none")),
    .value("model", \.sources.model, .modelName),
    .value("passages", \.sources.passages, .integer(1...20)),
    .value("least_score", \.sources.leastScore, .number(0...1)),
    .value("service", \.sources.service, ValueFormat.serviceAddress.orNone("none")),
    .value("timeout", \.sources.timeout, .duration(.milliseconds(50) ... .seconds(60))),
  ]

  private static let health: [Key<Settings>] = [
    .value("first_byte_limit", \.health.firstByteLimit, .duration(limit)),
    .value("stall_timeout", \.health.stallTimeout, .duration(limit)),
    .value("start_timeout", \.health.startTimeout, .duration(limit)),
    .value("probe_timeout", \.health.probeTimeout, .duration(.milliseconds(50) ... .seconds(60))),
    .value("probe_failures", \.health.probeFailures, .integer(1...100)),
    .value("unhealthy_grace", \.health.unhealthyGrace, .duration(.zero ... .seconds(3_600))),
  ]

  private static let restarts: [Key<Settings>] = [
    .value("pause", \.restarts.pause, .duration(.milliseconds(50) ... .seconds(3_600))),
    .value("pause_max", \.restarts.pauseMax, .duration(.milliseconds(50) ... .seconds(86_400))),
    .value("quarantine_after", \.restarts.quarantineAfter, .integer(1...100)),
    .value("quarantine", \.restarts.quarantine, .duration(.milliseconds(50) ... .seconds(604_800))),
  ]
}

extension SettingsKeys {
  /// Of an entry under `gpus`.
  static let gpu: [Key<GPUSettings>] = [
    .value("uuid", \.uuid, .gpuUUID, isRequired: true),
    .value("name", \.name, ValueFormat.text("a name of one line") { $0.utf8.count <= 95 }.orNone("none")),
    .value("memory", \.memory, ValueFormat.size(.mebibytes(1) ... .mebibytes(1 << 24)).orNone("none")),
    .value("pci", \.pci, ValueFormat.pciAddress.orNone("none")),
    .value("nodes", \.nodes, ValueFormat.deviceNode.list("device nodes", most: 64)),
    .value("vendor", \.vendor, .choice),
  ]

  /// Of an entry under `placements`.
  static let placement: [Key<PlacementSettings>] = [
    .value("id", \.id, ValueFormat.placementID.orNone("auto")),
    .value(
      "gpus", \.gpus, ValueFormat.gpuReference.list("GPUs' UUIDs or numbers", least: 1, most: 64), isRequired: true),
    .value("slots", \.slots, ValueFormat.integer(slotBounds).orNone("auto")),
    .value("shared", \.shared, .boolean),
    .value("models", \.models, ValueFormat.modelName.list("models", most: 256)),
    .value("gpu_memory", \.gpuMemory, gpuMemory.orNone("auto")),
    .value("context_length", \.contextLength, contextLength.orNone("auto")),
    .value("keep_alive", \.keepAlive, ValueFormat.keepAlive.orNone("auto")),
    .value("environment", \.environment, .environment),
  ]
}

extension SettingsKeys {
  /// Of an entry under `classes`.
  static let userClass: [Key<ClassSettings>] = [
    .value("priority", \.priority, .integer(UserClass.priorities)),
    .value("weight", \.weight, .number(0.001...1_000)),
    .value("requests_per_hour", \.requestsPerHour, ValueFormat.integer(1...1_000_000).orNone("none")),
    .value("tokens_per_hour", \.tokensPerHour, ValueFormat.integer(1...1_000_000_000).orNone("none")),
    .value("concurrent", \.concurrent, ValueFormat.integer(1...1_000_000).orNone("none")),
    .value("waiting", \.waiting, ValueFormat.integer(1...1_000_000).orNone("none")),
  ]

  /// Of an entry under `users`.
  static let user: [Key<UserSettings>] = [
    .value("class", \.className, ValueFormat.className.orNone("default")),
    .value("role", \.role, .choice),
  ]
}

extension SettingsKeys {
  /// Of an entry under `scaling.schedule`.
  static let scheduledBounds: [Key<ScheduledBounds>] = [
    .value("days", \.days, .days),
    .value("from", \.from, .timeOfDay, isRequired: true),
    .value("to", \.to, .timeOfDay, isRequired: true),
    .value("min", \.minimum, ValueFormat.integer(0...Placement.most).orNone("auto")),
    .value("max", \.maximum, ValueFormat.integer(0...Placement.most).orNone("auto")),
  ]

  /// Of an entry under `models`.
  static let model: [Key<ModelSettings>] = [
    .value("num_ctx", \.numCtx, contextLength.orNone("auto")),
    .value("max_num_ctx", \.maxNumCtx, contextLength.orNone("none")),
    .value("gpu_memory", \.gpuMemory, gpuMemory.orNone("auto")),
  ]
}

extension ScalingKeys {
  fileprivate var noteOnZ: String? { z == nil ? "\(Rendered.number(rule.z).yaml) by the policy" : nil }

  fileprivate var noteOnSmoothing: String? {
    smoothing == nil ? Self.coldStarts(ScalingSettings.smoothingInColdStarts) : nil
  }

  fileprivate var noteOnWindow: String? {
    window == nil ? "\(Self.coldStarts(rule.windowInColdStarts)), within 60s and 10m" : nil
  }

  fileprivate var noteOnShrink: String? {
    shrink == nil ? "\(ValueFormat.share.render(rule.shrink).yaml) by the policy" : nil
  }

  fileprivate var noteOnShrinkPeriod: String? {
    shrinkPeriod == nil ? "\(Self.coldStarts(ScalingSettings.shrinkPeriodInColdStarts)), within 5m and 30m" : nil
  }

  private static func coldStarts(_ count: Double) -> String { "\(Rendered.number(count).yaml) cold starts" }
}
