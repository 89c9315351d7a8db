import OllamaAPI
import PoolCore

/// What an answer says of its user's limits by the hour: draft-ietf-httpapi-ratelimit-headers-07.
enum RateLimitFields {
  private static let window = 3600

  /// - Parameters: nil where there is no such limit.
  /// - Returns: all limits as the policy, and the one that is nearest to its end in detail.
  static func fields(requests: LimitStanding?, tokens: LimitStanding?) -> [(name: String, value: String)] {
    let standings = [requests, tokens].compactMap { $0 }
    guard let nearest = standings.min(by: { $0.remainingPart < $1.remainingPart }) else { return [] }
    let policies =
      (requests.map { ["\($0.limit);w=\(window)"] } ?? [])
      + (tokens.map { ["\($0.limit);w=\(window);comment=\"tokens\""] } ?? [])
    return [
      ("RateLimit-Limit", String(nearest.limit)),
      ("RateLimit-Remaining", String(nearest.remaining)),
      ("RateLimit-Reset", String(Int(nearest.reset.seconds.rounded(.up)))),
      ("RateLimit-Policy", policies.joined(separator: ", ")),
    ]
  }
}

extension Route {
  /// Whether the limits of its user count for it.
  var isLimited: Bool {
    switch kind {
    case .inference, .pool(.ask): true
    case .root, .metadata, .processList, .modelManagement, .account, .pool: false
    }
  }
}
