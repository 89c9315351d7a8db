import PoolCore

/// What operators ordered and what holds until they take it back, also after a restart.
struct StandingOrders: Codable, Equatable, Sendable {
  struct Scale: Codable, Equatable, Sendable {
    var minimum: Int?
    var maximum: Int?
    /// Seconds since 1970; nil: without an end.
    var until: Double?
  }

  /// An order about one placement's instance that still stands: `PoolCore.OperatorOrder`.
  struct ToInstance: Codable, Equatable, Sendable {
    enum Kind: String, Codable, Sendable {
      case drain, restart
    }

    var kind: Kind
    /// Of a restart: the life that is to end.
    var invocation: String?
    /// When it ends although it still serves, in seconds since 1970; nil for never.
    var deadline: Double?
  }

  var scale: Scale?
  /// Why nothing is started, by the GPU's UUID, or by the placement's name where it has no GPU. Also of GPUs that are
  /// not there at present.
  var cordons: [String: String] = [:]
  /// When a cordon ends, in seconds since 1970; those without an end are absent.
  var cordonEnds: [String: Double] = [:]
  /// By the placement's name.
  var instances: [String: ToInstance] = [:]

  init() {}

  /// - Throws: also for what no operator could have ordered.
  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    scale = try container.decodeIfPresent(Scale.self, forKey: .scale)
    cordons = try container.decodeIfPresent([String: String].self, forKey: .cordons) ?? [:]
    cordonEnds = try container.decodeIfPresent([String: Double].self, forKey: .cordonEnds) ?? [:]
    instances = try container.decodeIfPresent([String: ToInstance].self, forKey: .instances) ?? [:]
    let problem = scale.flatMap {
      Scale.problem(
        minimum: $0.minimum, maximum: $0.maximum, fixed: nil, forSeconds: nil, configuredMaximum: .max)
    }
    if let problem {
      throw DecodingError.dataCorruptedError(forKey: .scale, in: container, debugDescription: problem)
    }
  }

  /// In words; nil where nothing holds.
  var summary: String? {
    let bounds = scale.map { scale in
      [scale.minimum.map { "at least \($0) instances" }, scale.maximum.map { "at most \($0) instances" }]
        .compactMap(\.self).joined(separator: ", ")
    }
    let parts =
      [bounds].compactMap(\.self) + cordons.sorted { $0.key < $1.key }.map { "\($0) is cordoned (\($1))" }
      + instances.sorted { $0.key < $1.key }.map { "\($0) is to be \($1.kind == .drain ? "drained" : "restarted")" }
    return parts.isEmpty ? nil : parts.joined(separator: "; ")
  }

  /// Cordons as the core has them. `now` and `wallSeconds` are one moment on two clocks.
  func operatorCordons(now: Instant, wallSeconds: Double) -> [String: Cordon] {
    Dictionary(
      cordons.map { key, reason in
        (key, Cordon(reason: reason, until: cordonEnds[key].map { now + .seconds(rounding: $0 - wallSeconds) }))
      }, uniquingKeysWith: { first, _ in first })
  }

  /// The other way round. An end that is known keeps its time: clocks drift.
  mutating func keep(_ cordons: [String: Cordon], now: Instant, wallSeconds: Double) {
    let before = operatorCordons(now: now, wallSeconds: wallSeconds)
    var ends: [String: Double] = [:]
    for (key, cordon) in cordons {
      guard let until = cordon.until else { continue }
      let known = before[key]?.until.map { abs(($0 - until).seconds) < 1 } ?? false
      ends[key] = known ? cordonEnds[key] : wallSeconds + (until - now).seconds
    }
    self.cordons = cordons.mapValues(\.reason)
    cordonEnds = ends
  }

  /// The orders to instances as the core has them. `now` and `wallSeconds` are one moment on two clocks.
  func operatorOrders(now: Instant, wallSeconds: Double) -> [InstanceID: OperatorOrder] {
    Dictionary(
      instances.map { name, order in
        let deadline = order.deadline.map { now + .seconds(rounding: $0 - wallSeconds) }
        return switch order.kind {
        case .drain: (InstanceID(name), .drain(deadline: deadline))
        case .restart:
          (InstanceID(name), .restart(of: order.invocation.map { InvocationID($0) }, deadline: deadline))
        }
      }, uniquingKeysWith: { first, _ in first })
  }

  /// The other way round.
  mutating func keep(_ orders: [InstanceID: OperatorOrder], now: Instant, wallSeconds: Double) {
    func seconds(_ deadline: Instant?) -> Double? { deadline.map { wallSeconds + ($0 - now).seconds } }
    instances = Dictionary(
      orders.map { id, order in
        switch order {
        case .drain(let deadline): (id.name, ToInstance(kind: .drain, deadline: seconds(deadline)))
        case .restart(let old, let deadline):
          (id.name, ToInstance(kind: .restart, invocation: old?.text, deadline: seconds(deadline)))
        }
      }, uniquingKeysWith: { first, _ in first })
  }

  /// As if it had never been given, if its end has come.
  mutating func expire(at wallSeconds: Double) {
    if let until = scale?.until, until <= wallSeconds { scale = nil }
  }
}

extension StandingOrders.Scale {
  /// More instances than any machine runs.
  static let most = Placement.most
  /// 30 days in seconds.
  static let longest = 30.0 * 24 * 3600

  /// What is wrong with an order; nil if nothing is.
  ///
  /// - Parameter configuredMaximum: `scaling.max`, which holds where the order names no maximum.
  static func problem(minimum: Int?, maximum: Int?, fixed: Int?, forSeconds: Double?, configuredMaximum: Int) -> String?
  {
    if fixed != nil, minimum != nil || maximum != nil { return "fixed stands for min and max: give it alone" }
    for (name, value) in [("min", minimum), ("max", maximum), ("fixed", fixed)] {
      if let value, !(0...most ~= value) { return "\(name) is \(value); expected 0 to \(most)" }
    }
    if let minimum, let maximum, minimum > maximum { return "min \(minimum) is more than max \(maximum)" }
    if let minimum, maximum == nil, minimum > configuredMaximum {
      return "min \(minimum) is more than the configured scaling.max, \(configuredMaximum): give max as well"
    }
    guard let forSeconds else { return nil }
    if minimum == nil, maximum == nil, fixed == nil { return "forSeconds needs min, max or fixed" }
    if !(forSeconds > 0 && forSeconds <= longest) {
      return "forSeconds is \(forSeconds); expected more than 0 and at most \(Int(longest)), 30 days"
    }
    return nil
  }
}
