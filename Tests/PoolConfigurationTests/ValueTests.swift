import PoolCore
import Testing

@testable import PoolConfiguration

@Suite struct ValueTests {
  @Test(
    "a duration is read in each unit and written in the largest exact one",
    arguments: [
      ("250ms", "250ms"), ("30s", "30s"), ("90", "90s"), ("600s", "10m"), ("2h", "2h"), ("1.5s", "1500ms"),
      ("0", "0s"), ("120m", "2h"),
    ])
  func durations(text: String, rendered: String) {
    #expect(DurationText.parse(text).map(DurationText.render) == rendered)
  }

  @Test(
    "what is no duration is refused",
    arguments: ["", "s", "-1s", "1 s", "1d", "1h30m", "1.2.3s", ".5s", "5.s", "1e9", "nan", "999999999999999h", "٣s"])
  func noDurations(text: String) {
    #expect(DurationText.parse(text) == nil)
  }

  @Test(
    "a size is read in each unit and written in its shortest exact form",
    arguments: [
      ("512MiB", "512MiB"), ("64MB", "64MB"), ("1024", "1KiB"), ("1000", "1kB"), ("1", "1"), ("1mib", "1MiB"),
      ("2TiB", "2TiB"), ("12B", "12"), ("0", "0"),
    ])
  func sizes(text: String, rendered: String) {
    #expect(ByteCount(parsing: text)?.description == rendered)
  }

  @Test("what is no size is refused", arguments: ["", "MiB", "-1", "1.5GiB", "16G", "1 MiB", "99999999TiB", "٣"])
  func noSizes(text: String) {
    #expect(ByteCount(parsing: text) == nil)
  }

  @Test(
    "an address is read in each form",
    arguments: [
      ("127.0.0.1:11434", "127.0.0.1:11434"), ("[::1]:11434", "[::1]:11434"), ("localhost:80", "127.0.0.1:80"),
      ("11434", "127.0.0.1:11434"), ("0.0.0.0:1", "0.0.0.0:1"), ("[0:0:0:0:0:0:0:1]:5", "[::1]:5"),
      ("0", "127.0.0.1:0"),
    ])
  func addresses(text: String, description: String) {
    #expect(ListenAddress(parsing: text)?.description == description)
  }

  @Test(
    "what is no address is refused",
    arguments: [
      "", ":11434", "::1:11434", "example.org:80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
      "[127.0.0.1]:80", "1.2.3:80", "http://127.0.0.1:80", "[::1%lo]:80", "[::1]",
    ])
  func noAddresses(text: String) {
    #expect(ListenAddress(parsing: text) == nil)
  }

  @Test("only this machine's addresses are loopback")
  func loopback() {
    let loopback = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "1"]
    let open = ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1", "[fe80::1]:1", "128.0.0.1:1"]
    #expect(loopback.allSatisfy { ListenAddress(parsing: $0)?.isLoopback == true })
    #expect(open.allSatisfy { ListenAddress(parsing: $0)?.isLoopback == false })
  }

  @Test("keep_alive goes to Ollama in its own words")
  func keepAlive() {
    #expect(KeepAlive(parsing: "forever")?.environmentValue == "-1")
    #expect(KeepAlive(parsing: "-1")?.environmentValue == "-1")
    #expect(KeepAlive(parsing: "90")?.environmentValue == "90s")
    #expect(KeepAlive(parsing: "0")?.environmentValue == "0s")
    #expect(KeepAlive(parsing: "5m")?.environmentValue == "5m")
    #expect(KeepAlive(parsing: "never") == nil)
    #expect(KeepAlive(parsing: "-") == nil)
  }

  @Test("a policy fills what is not given, and nothing else")
  func policy() throws {
    let standard = Settings().scaling.rule
    #expect(standard == ScalingSettings(.standard))
    let economy = try settings("scaling: {policy: economy, z: 0.5, max: 3}").scaling.rule
    #expect(economy.z == 0.5 && economy.maximum == 3 && economy.minimum == 1)
    #expect(economy.window == nil && economy.windowInColdStarts == 3 && economy.shrink == 0.5)
    let latency = try settings("scaling: {policy: latency, window: 5m, idle_hold: 0s}").scaling.rule
    #expect(latency.z == 2 && latency.window == .seconds(300) && latency.idleHold == .zero && latency.shrink == 0.1)
    let own = try settings("scaling: {smoothing: 0s, shrink: 60%, shrink_period: 1h, zero_hold: 2m}").scaling.rule
    #expect(own.smoothing == .zero && own.shrink == 0.6 && own.shrinkPeriod == .seconds(3_600))
    #expect(own.zeroHold == .seconds(120))
  }

  @Test("a schedule names days and times, also across midnight and Sunday")
  func schedule() throws {
    let read = try settings(
      """
      scaling:
        schedule:
          - {days: mon-fri, from: 08:00, to: 19:00, min: 3}
          - {days: "fri-mon, wed", from: 22:30, to: 24:00, max: 0}
          - {from: 00:00, to: 00:00, min: 1, max: 2}
      """)
    let schedule = read.scaling.rule.schedule
    #expect(schedule.map(\.days) == [Set(0...4), [4, 5, 6, 0, 2], Set(0...6)])
    #expect(schedule.map(\.from) == [480, 1_350, 0] && schedule.map(\.to) == [1_140, 1_440, 0])
    #expect(schedule.map(\.minimum) == [3, nil, 1] && schedule.map(\.maximum) == [nil, 0, 2])
    let shown = ValueFormat<[ScheduledBounds]>.schedule.render(schedule).yaml
    #expect(
      shown
        == "[{days: mon-fri, from: 08:00, to: 19:00, min: 3}, {days: \"wed,fri-mon\", from: 22:30, to: 24:00, max: 0}, "
        + "{from: 00:00, to: 00:00, min: 1, max: 2}]")
    #expect(try settings("scaling: {schedule: \(shown)}").scaling.rule.schedule == schedule)
  }

  @Test("how long requests are recorded")
  func history() throws {
    #expect(Settings().history == HistorySettings())
    let read = try settings("history: {age: 24h, requests: 0}").history
    #expect(read.age == .seconds(86_400) && read.requests == 0)
    #expect { try settings("history: {age: 10m}") } throws: { "\($0)".contains("history.age") }
    #expect { try settings("history: {requests: -1}") } throws: { "\($0)".contains("history.requests") }
  }

  @Test("a time of the week is a day and a time")
  func weekTime() {
    #expect(WeekTime(parsing: "sun 23:59") == WeekTime(day: 6, minute: 1_439))
    #expect(WeekTime(parsing: "mon 00:00")?.description == "mon 00:00")
    for text in ["mon 24:00", "mon", "08:00", "mo 08:00", "mon 8:00", "mon  08:00", "Mon 08:00", ""] {
      #expect(WeekTime(parsing: text) == nil, "\(text)")
    }
  }

  @Test(
    "a schedule that makes no sense is told of by its entry",
    arguments: [
      ("{from: 8:00, to: 19:00}", "scaling.schedule[0].from"), ("{from: 08:00, to: 24:01}", "scaling.schedule[0].to"),
      ("{from: 08:00}", "scaling.schedule[0].to"), ("{days: mo, from: 08:00, to: 19:00}", "scaling.schedule[0].days"),
      ("{days: mon-wed-fri, from: 08:00, to: 19:00}", "scaling.schedule[0].days"),
      ("{from: 08:00, to: 19:00, min: 5}", "scaling.schedule[0].min"),
      ("{from: 08:00, to: 19:00, min: 3, max: 2}", "scaling.schedule[0].min"),
    ])
  func wrongSchedule(entry: String, key: String) {
    #expect { try settings("scaling: {max: 4, schedule: [\(entry)]}") } throws: { "\($0)".contains(key) }
  }

  @Test("a share is whole per cent", arguments: ["25", "101%", "-1%", "2.5%", "%"])
  func wrongShare(text: String) {
    #expect { try settings("scaling: {shrink: \"\(text)\"}") } throws: { "\($0)".contains("scaling.shrink") }
  }

  @Test("the core gets its limits from the file")
  func limits() throws {
    #expect(Settings().dispatchLimits == DispatchLimits())
    let limits = try settings(
      "queue: {requests: 5, maximum_wait: 2m, assumed_service: 9s}\nhealth: {stall_timeout: 1s}\npreload: [m]\n"
        + "scaling: {cold_start: 7s}"
    ).dispatchLimits
    #expect(limits.waitingRequests == 5 && limits.maximumWait == .seconds(120))
    #expect(limits.stallTimeout == .seconds(1) && limits.preload == ["m"])
    #expect(limits.assumedService == .seconds(9) && limits.coldStart == .seconds(7))
  }

  @Test("a class is what it was before where the file leaves something out")
  func classes() throws {
    let rules = try settings(
      "classes: {free: {concurrent: 2}, standard: {weight: 0.5}, gold: {priority: 3, tokens_per_hour: 7, waiting: 1}}"
    ).accessRules
    #expect(Set(rules.classes.keys) == ["enterprise", "free", "gold", "standard"])
    #expect(
      rules.classes["free"]
        == UserClass(name: "free", priority: 2, limits: UserLimits(requestsPerHour: 10, concurrent: 2)))
    #expect(rules.classes["standard"] == UserClass(name: "standard", priority: 1, weight: 0.5))
    #expect(
      rules.classes["gold"]
        == UserClass(name: "gold", priority: 3, limits: UserLimits(tokensPerHour: 7, waiting: 1)))
    let lifted = try settings("classes: {free: {requests_per_hour: none}}").accessRules
    #expect(lifted.classes["free"]?.limits == UserLimits())
    #expect(problems("classes: {free: {weight: 0}}").count == 1)
  }

  @Test("who may come in is as the file says")
  func access() throws {
    #expect(Settings().accessRules == AccessRules(classes: Settings().accessRules.classes))
    let rules = try settings(
      "access: {anonymous: allow, trusted_proxies: [10.0.0.0/24], default_class: free, anonymous_class: free}\n"
        + "users: {ann: {role: administrator}, bob: {class: enterprise}}\nallow_open_listener: true"
    ).accessRules
    #expect(rules.anonymous == .allow && rules.hasProxies && rules.isOpenToAnyone && !rules.hasKeys)
    #expect(rules.defaultClass == "free" && rules.anonymousClass == "free")
    #expect(rules.users["ann"] == AccessRules.UserGrant(role: .administrator))
    #expect(rules.users["bob"] == AccessRules.UserGrant(className: "enterprise"))
    for wrong in [
      "trusted_proxies: [10.0.0.1/24]", "trusted_proxies: [host]", "trusted_proxies: [0.0.0.0/0]",
      "trusted_proxies: ['::/0']", "user_header: 'a b'", "user_header: Authorization", "user_header: COOKIE",
      "user_header: Host", "user_header: Content-Length", "user_header: x-forwarded-for", "anonymous: yes",
    ] {
      #expect(problems("access: {\(wrong)}").count == 1, "\(wrong)")
    }
    for wrong in ["'ann '", "' ann'", "\"M\\uFFFDller\""] {
      #expect(problems("users: {\(wrong): {role: administrator}}").count == 1, "\(wrong)")
    }
  }

  @Test(
    "the nearest key is found, and nothing far",
    arguments: [
      ("slot", "slots"), ("lisen", "listen"), ("keepalive", "keep_alive"), ("models-path", "models_path"),
      ("gpu", "gpus"), ("metrics", nil), ("xyz", nil), ("", nil), (String(repeating: "a", count: 10_000), nil),
    ] as [(String, String?)])
  func nearest(wrong: String, right: String?) {
    #expect(NearestName.of(wrong, in: SettingsKeys.all.keys.map(\.name)) == right)
  }
}
