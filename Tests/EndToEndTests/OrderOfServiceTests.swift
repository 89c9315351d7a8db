import TestSupport
import Testing

/// Who is next, as a proxy's users see it over HTTP: one instance with one slot before all of them.
@Suite(.serialized) struct OrderOfServiceTests {
  /// Answers are about as long as the pool assumes before it has seen any, and take half a second.
  private static func setup(_ settings: String) -> Pool.Setup {
    var setup = Pool.Setup()
    setup.simulator = ["TOKENS": "200", "TOKENS_PER_SECOND": "400"]
    setup.settings = "access: {trusted_proxies: [127.0.0.1]}\n" + settings
    return setup
  }

  private static func headers(_ user: String) -> [(String, String)] { [("X-Forwarded-User", user)] }

  /// What a user asked, and where it stands.
  private struct Waiting {
    let name: String
    let events: EventReader

    /// Reads on until this place is told.
    func hears(_ position: Int) async throws {
      try await events.next(until: { $0.position == position })
    }
  }

  private static func ask(_ pool: Pool, _ user: String, _ name: String) async throws -> Waiting {
    Waiting(name: name, events: try await ChatUser(pool).ask(name, headers: headers(user)))
  }

  /// Takes the only slot until it is closed.
  private static func occupy(_ pool: Pool, as user: String) async throws -> HTTPProbe {
    let probe = try await HTTPProbe.connect(port: pool.port)
    try await probe.send("POST", "/api/generate", headers: headers(user), body: Pool.generation(tokens: 1_000_000))
    _ = try await probe.head(within: .seconds(30))
    return probe
  }

  /// Frees the slot, and returns in which order the others are answered.
  private static func order(_ waiting: [Waiting], behind running: HTTPProbe) async throws -> [String] {
    // Each goes on in a task of its own.
    struct Boxed: @unchecked Sendable { let waiting: Waiting }
    await running.close()
    return try await withThrowingTaskGroup(of: String.self) { group in
      for one in waiting.map(Boxed.init) {
        group.addTask {
          try await one.waiting.events.finish()
          #expect(one.waiting.events.events.last?.type == "done")
          return one.waiting.name
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
  }

  /// The places that the operator sees, in order of arrival.
  private static func places(_ pool: Pool) async throws -> [Int] { try await pool.requests.compactMap(\.position) }

  @Test(
    "Whoever has many questions waiting does not crowd out those who ask once, where users are to have equal shares",
    arguments: [true, false])
  func fairness(isFair: Bool) async throws {
    try await withPool(Self.setup("queue: {fair: \(isFair)}")) { pool in
      let running = try await Self.occupy(pool, as: "batch")
      var batch: [Waiting] = []
      for number in 0..<4 {
        batch.append(try await Self.ask(pool, "batch", "batch \(number)"))
        try await batch[number].hears(number + 2)
      }
      let eva = try await Self.ask(pool, "eva", "eva")
      // What batch is given right now is more than others had by now.
      try await eva.hears(isFair ? 2 : 6)
      let ugo = try await Self.ask(pool, "ugo", "ugo")
      try await ugo.hears(isFair ? 3 : 7)
      if isFair { for number in 0..<4 { try await batch[number].hears(number + 4) } }
      #expect(try await Self.places(pool) == (isFair ? [4, 5, 6, 7, 2, 3] : [2, 3, 4, 5, 6, 7]))

      let names = batch.map(\.name)
      #expect(
        try await Self.order(batch + [eva, ugo], behind: running)
          == (isFair ? ["eva", "ugo"] + names : names + ["eva", "ugo"]))
      #expect(eva.events.places.last == 1 && ugo.events.places == ugo.events.places.sorted(by: >))
    }
  }

  private static let users = "users: {boss: {class: enterprise}, ann: {}, kid: {class: free}}\n"

  @Test("Enterprise comes before standard, and standard before free, and each hears its place so")
  func classes() async throws {
    try await withPool(Self.setup(Self.users)) { pool in
      let running = try await Self.occupy(pool, as: "kid")
      let kid = [try await Self.ask(pool, "kid", "kid 1"), try await Self.ask(pool, "kid", "kid 2")]
      try await kid[0].hears(2)
      try await kid[1].hears(3)
      let ann = try await Self.ask(pool, "ann", "ann")
      try await ann.hears(2)
      let boss = try await Self.ask(pool, "boss", "boss")
      try await boss.hears(2)
      try await ann.hears(3)
      try await kid[0].hears(4)
      try await kid[1].hears(5)
      #expect(try await Self.places(pool) == [4, 5, 3, 2])
      // The first that is served is not interrupted for anybody.
      #expect(
        try await Self.order(kid + [ann, boss], behind: running) == ["boss", "ann", "kid 1", "kid 2"])
    }
  }

  @Test("Nobody waits for ever behind a class above: age lifts a question into it", arguments: ["3s", "never"])
  func aging(aging: String) async throws {
    let settings = Self.users + "classes: {free: {priority: 1}, enterprise: {priority: 0}}\nqueue: {aging: \(aging)}"
    try await withPool(Self.setup(settings)) { pool in
      let running = try await Self.occupy(pool, as: "boss")
      let kid = try await Self.ask(pool, "kid", "kid")
      try await kid.hears(2)
      var boss: [Waiting] = []
      for number in 1...3 {
        boss.append(try await Self.ask(pool, "boss", "boss \(number)"))
        try await boss[number - 1].hears(number + 1)
      }
      try await kid.hears(5)
      let isLifted = aging != "never"
      if isLifted {
        try await kid.hears(2)
        try await boss[0].hears(3)
      }
      let later = try await Self.ask(pool, "boss", "later")
      try await later.hears(isLifted ? 6 : 5)
      let names = boss.map(\.name)
      #expect(
        try await Self.order([kid] + boss + [later], behind: running)
          == (isLifted ? ["kid"] + names + ["later"] : names + ["later", "kid"]))
    }
  }
}
