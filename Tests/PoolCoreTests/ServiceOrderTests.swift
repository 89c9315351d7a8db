import Testing

@testable import PoolCore

/// In which order those that wait are served.
@Suite struct ServiceOrderTests {
  private func request(
    _ number: UInt64, _ user: UserID = "", priority: Int = 0, tokens: Int = 0, weight: Double = 1, model: String? = nil
  ) -> DispatchRequest {
    DispatchRequest(
      id: RequestID(number), model: model, share: DispatchRequest.Share(user: user, priority: priority, weight: weight),
      inputTokens: tokens)
  }

  private func order(_ requests: DispatchRequest...) -> ServiceOrder {
    var order = ServiceOrder()
    for request in requests { order.append(request, at: .zero) }
    return order
  }

  /// Serves the first, over and over, each giving so many tokens.
  private func served(_ order: ServiceOrder, output: Int = 0) -> [UInt64] {
    var order = order
    var served: [UInt64] = []
    while let first = order[0] {
      order.callUp(first)
      order.remove(first, .tokens(output))
      served.append(first.number)
    }
    return served
  }

  @Test func whereEveryUserHasOneRequestFirstInIsFirstOut() {
    var order = order(
      request(1, "a", tokens: 900), request(2, "b", tokens: 10), request(3, "c", tokens: 500), request(4, "d"))
    #expect(order.waiting.map(\.number) == [1, 2, 3, 4])
    #expect(order.ahead(of: RequestID(3)) == 2 && order.ahead(of: RequestID(9)) == nil)
    #expect(served(order, output: 100) == [1, 2, 3, 4])
  }

  @Test func whoBringsManyLetsOthersInBetween() {
    var order = order(
      request(1, "batch", tokens: 100), request(2, "batch", tokens: 100), request(3, "batch", tokens: 100),
      request(4, "eva", tokens: 100), request(5, "ugo", tokens: 100))
    #expect(order.waiting.map(\.number) == [1, 4, 5, 2, 3])
    #expect(order.ahead(of: RequestID(2)) == 3)
    #expect(served(order) == [1, 4, 5, 2, 3])
  }

  @Test func withoutFairnessTheOrderIsThatOfArrivalAndBackAgain() {
    var order = order(
      request(1, "batch", tokens: 100), request(2, "batch", tokens: 100), request(3, "eva", tokens: 100))
    order.isFair = false
    #expect(order.waiting.map(\.number) == [1, 2, 3])
    order.append(request(4, "ugo", tokens: 100), at: .zero)
    #expect(order.waiting.map(\.number) == [1, 2, 3, 4])
    order.isFair = true
    #expect(order.waiting.map(\.number) == [1, 3, 4, 2])
  }

  @Test func whatAnAnswerReallyTookIsPutRightAtItsEnd() {
    var order = order(request(1, "a", tokens: 10), request(2, "b", tokens: 10))
    for id in [1, 2] as [UInt64] { order.callUp(RequestID(id)) }
    order.append(request(3, "a", tokens: 10), at: .zero)
    order.append(request(4, "b", tokens: 10), at: .zero)
    #expect(order.waiting.map(\.number) == [3, 4])
    order.charge(RequestID(1), tokens: 500)
    #expect(order.waiting.map(\.number) == [4, 3])
    order.remove(RequestID(2), .tokens(900))
    #expect(order.waiting.map(\.number) == [3, 4])
  }

  @Test func whoComesBackFromAPauseHasSavedNothingUp() {
    var order = ServiceOrder()
    // One has had a lot, the other was away.
    for number: UInt64 in 1...20 {
      order.append(request(number, "busy", tokens: 100), at: .zero)
      order.callUp(RequestID(number))
      order.remove(RequestID(number), .tokens(0))
    }
    order.append(request(21, "busy", tokens: 100), at: .zero)
    order.append(request(22, "busy", tokens: 100), at: .zero)
    for number: UInt64 in 23...25 { order.append(request(number, "away", tokens: 100), at: .zero) }
    #expect(order.waiting.map(\.number) == [21, 23, 22, 24, 25])
  }

  @Test func twiceTheWeightIsTwiceAsMuch() {
    var order = ServiceOrder()
    for number: UInt64 in 1...6 { order.append(request(number, "half", tokens: 100), at: .zero) }
    for number: UInt64 in 7...12 { order.append(request(number, "double", tokens: 100, weight: 2), at: .zero) }
    let first = served(order).prefix(6)
    #expect(first.count { $0 <= 6 } == 2 && first.count { $0 > 6 } == 4)
  }

  @Test func classesComeOneAfterTheOtherAndAgeLiftsFromOneToTheNext() {
    var order = ServiceOrder()
    order.isFair = false
    order.aging = .seconds(300)
    order.append(request(1, "a", priority: 2), at: .zero)
    order.append(request(2, "b", priority: 1), at: .zero + .seconds(1))
    order.append(request(3, "c", priority: 0), at: .zero + .seconds(2))
    order.append(request(4, "d", priority: 1), at: .zero + .seconds(3))
    #expect(order.waiting.map(\.number) == [3, 2, 4, 1])
    #expect(order.age(at: .zero + .seconds(299)) == [])
    #expect(order.age(at: .zero + .seconds(300)).map(\.number) == [1])
    #expect(order.waiting.map(\.number) == [3, 1, 2, 4])
    #expect(order.age(at: .zero + .seconds(303)).map(\.number) == [2, 4])
    #expect(order.waiting.map(\.number) == [2, 3, 4, 1])
    #expect(order.age(at: .zero + .seconds(600)).map(\.number) == [1])
    #expect(order.waiting.map(\.number) == [1, 2, 3, 4])
    order.move(RequestID(2), toLevel: 3, at: .zero)
    #expect(order.waiting.map(\.number) == [1, 3, 4, 2])
  }

  /// Whoever comes anew has had nothing: without an end to it somebody who has had a lot would never be served.
  @Test func theFirstOfAUsersRequestsComesBeforeAllTurnsOnceItHasWaitedForLong() {
    var order = ServiceOrder()
    order.aging = .seconds(300)
    for number: UInt64 in 2...4 { order.append(request(number, UserID("light\(number)"), tokens: 10), at: .zero) }
    order.append(request(1, "heavy", tokens: 9000), at: .zero)
    order.callUp(RequestID(1))
    for number: UInt64 in 5...7 { order.append(request(number, "heavy", tokens: 10), at: .zero + .seconds(1)) }
    order.append(request(8, "free", priority: 1), at: .zero + .seconds(3))
    var (second, next) = (3, UInt64(10))
    func served(until end: Int) -> [UInt64] {
      var served: [UInt64] = []
      while second < end {
        order.append(request(next, UserID("new\(next)"), tokens: 10), at: .zero + .seconds(second))
        order.age(at: .zero + .seconds(second))
        guard let first = order[0] else { break }
        order.callUp(first)
        order.remove(first, .tokens(1))
        served.append(first.number)
        second += 1
        next += 1
      }
      return served.filter { $0 < 10 }
    }
    #expect(served(until: 301) == [2, 3, 4])
    #expect(served(until: 302) == [5])
    // What is lifted by age alone comes before those who came later, and after the one that is past all turns.
    #expect(served(until: 304) == [8])
    // A crowd is not lifted at once: the next one was not the first, and has its time again.
    #expect(served(until: 601) == [])
    #expect(served(until: 602) == [6])
    #expect(served(until: 901) == [])
    #expect(served(until: 902) == [7])
  }

  @Test func whatWasLiftedBeforeAllTurnsIsChargedLikeAllAndKeepsItsPlace() {
    var order = ServiceOrder()
    order.aging = .seconds(10)
    order.append(request(1, "a", tokens: 500), at: .zero)
    order.callUp(RequestID(1))
    order.append(request(2, "a", tokens: 100), at: .zero)
    order.append(request(3, "b", tokens: 50), at: .zero + .seconds(5))
    #expect(order.age(at: .zero + .seconds(10)).map(\.number) == [2])
    #expect(order.waiting.map(\.number) == [2, 3] && order.level(of: RequestID(2)) == 0)
    order.move(RequestID(2), toLevel: 0, at: .zero + .seconds(10))
    #expect(order.waiting.map(\.number) == [2, 3])
    order.callUp(RequestID(2))
    order.putBack(RequestID(2), at: .zero + .seconds(11))
    #expect(order.waiting.map(\.number) == [2, 3])
    order.callUp(RequestID(2))
    // a has had 600, b is lifted to what that was before.
    order.append(request(4, "a", tokens: 1), at: .zero + .seconds(12))
    order.append(request(5, "b", tokens: 1), at: .zero + .seconds(12))
    #expect(order.waiting.map(\.number) == [3, 5, 4])
    order.move(RequestID(4), toLevel: 2, at: .zero + .seconds(12))
    order.isFair = false
    #expect(order.waiting.map(\.number) == [3, 5, 4])
  }

  @Test func whereManyHaveShiftedTheOrderIsPutRightNotMoreOftenThanItTakes() {
    var order = ServiceOrder()
    order.append(request(1, "crowd", tokens: 10), at: .zero)
    order.callUp(RequestID(1))
    for number: UInt64 in 2...1001 { order.append(request(number, "crowd", tokens: 10), at: .zero) }
    order.append(request(2000, "eva", tokens: 10), at: .zero)
    func first(_ time: Duration) -> UInt64? {
      order.settle(at: .zero + time)
      return order.first { _ in true }?.id.number
    }
    #expect(first(.zero) == 2)
    // More than was expected, so that it is eva's turn.
    order.charge(RequestID(1), tokens: 5000)
    #expect(first(.microseconds(9_999)) == 2)
    #expect(first(.microseconds(10_000)) == 2000)
    // Whoever wants to know exactly does at once.
    order.remove(RequestID(1), .nothing)
    #expect(order[0] == RequestID(2))
    // Few are put right at once.
    for number: UInt64 in 102...1001 { order.remove(RequestID(number)) }
    #expect(order[0] == RequestID(2))
    order.callUp(RequestID(2))
    order.charge(RequestID(2), tokens: 5000)
    #expect(first(.microseconds(10_001)) == 2000)
  }

  @Test func whatIsPutBackHasTheTurnThatItHadAndIsChargedOnce() {
    var order = order(
      request(1, "a", tokens: 100), request(2, "b", tokens: 100), request(3, "a", tokens: 50),
      request(4, "c", priority: 1))
    for id in [1, 2] as [UInt64] { order.callUp(RequestID(id)) }
    order.putBack(RequestID(2), at: .zero)
    #expect(order.waiting.map(\.number) == [2, 3, 4])
    order.putBack(RequestID(1), at: .zero)
    #expect(order.waiting.map(\.number) == [1, 2, 3, 4])
    // b is charged for 2 once, as a is for 1: else 5 would come behind 6.
    order.callUp(RequestID(2))
    order.append(request(5, "b", tokens: 100), at: .zero)
    order.append(request(6, "a", tokens: 100), at: .zero)
    #expect(order.waiting.map(\.number) == [1, 3, 5, 6, 4])
    #expect(served(order, output: OutputLengths.assumedMean) == [1, 3, 5, 6, 4])
  }

  @Test func withoutFairnessWhatIsPutBackStandsWhereItArrived() {
    var order = order(request(1), request(2), request(3), request(4))
    order.isFair = false
    for id in [1, 3] as [UInt64] { order.callUp(RequestID(id)) }
    order.putBack(RequestID(3), at: .zero)
    #expect(order.waiting.map(\.number) == [2, 3, 4])
    order.putBack(RequestID(1), at: .zero)
    #expect(order.waiting.map(\.number) == [1, 2, 3, 4])
  }

  @Test func theFirstOfAKindAndOfAModelIsFoundInTheOrderOfService() throws {
    let order = order(
      request(1, "a", tokens: 100, model: "m"), request(2, "a", tokens: 100, model: "n"),
      request(3, "b", tokens: 100, model: "n"), request(4, "b", tokens: 100, model: "m"))
    #expect(order.first(ofModel: "n") { _ in true }?.id.number == 3)
    #expect(order.first(of: DispatchRequest.Kind(model: "m")) { $0.number != 1 }?.id.number == 4)
    #expect(order.first(ofModel: "o") { _ in true } == nil && order.first { $0.number > 3 }?.id.number == 4)
    let fourth = order.key(of: RequestID(4))
    let key = try #require(fourth)
    #expect(order.ahead(of: key, among: ["n"]) == 2 && order.ahead(of: key, among: ["m", "o"]) == 1)
    #expect(Set(order.waitingModels) == ["m", "n"] && Set(order.keys(ofModel: "n").map(\.id.number)) == [3, 2])
  }

  /// Against what the paper says: at each turn, of the users who wait, the one who has had the least, and of that user
  /// the first.
  @Test(arguments: [1, 2, 3, 5, 8, 13] as [UInt64])
  func theNextIsAlwaysWhoHasHadTheLeast(seed: UInt64) {
    var random = Numbers(seed: seed)
    var order = ServiceOrder()
    var had: [UserID: Int] = [:]
    var last: UserID?
    var waiting: [DispatchRequest] = []
    var running: [(DispatchRequest, charged: Int)] = []
    var outputs = OutputLengths()
    var next: UInt64 = 1
    func cost(_ request: DispatchRequest, _ output: Int) -> Int { 1000 * (request.inputTokens + 2 * output) }
    var expected: [RequestID: Int] = [:]
    for _ in 0..<3_000 {
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<4:
        let user = UserID("u\(Int.random(in: 0..<6, using: &random))")
        let new = request(next, user, tokens: Int.random(in: 1..<500, using: &random))
        next += 1
        if !waiting.contains(where: { $0.share.user == user }) {
          let least = waiting.compactMap { had[$0.share.user] }.min() ?? last.flatMap { had[$0] } ?? 0
          had[user] = max(had[user] ?? 0, least)
        }
        expected[new.id] = cost(new, outputs.mean)
        waiting.append(new)
        order.append(new, at: .zero)
      case 4..<7 where !waiting.isEmpty:
        let users = Set(waiting.map(\.share.user))
        let least = users.compactMap { had[$0] }.min()
        let first = waiting.first { had[$0.share.user] == least }
        #expect(order[0] == first?.id)
        guard let first else { break }
        order.callUp(first.id)
        waiting.removeAll { $0.id == first.id }
        let charged = expected[first.id] ?? 0
        had[first.share.user, default: 0] += charged
        last = first.share.user
        running.append((first, charged))
      case 7 where !waiting.isEmpty:
        let gone = waiting.remove(at: Int.random(in: 0..<waiting.count, using: &random))
        order.remove(gone.id)
      case 8..<10 where !running.isEmpty:
        let (over, charged) = running.remove(at: Int.random(in: 0..<running.count, using: &random))
        let tokens = Int.random(in: 0..<800, using: &random)
        order.learn(outputTokens: tokens)
        order.remove(over.id, .tokens(tokens))
        if tokens > 0 { outputs.add(tokens) }
        had[over.share.user, default: 0] += cost(over, tokens) - charged
      default: break
      }
      #expect(order.count == waiting.count)
      if let somebody = waiting.randomElement(using: &random)?.id {
        #expect(order.waiting.firstIndex(of: somebody) == order.ahead(of: somebody))
      }
    }
  }
}
