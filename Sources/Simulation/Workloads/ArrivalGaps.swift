import Glibc

/// How the times between a client's arrivals are distributed; their mean is 1.
package enum ArrivalGaps: Hashable, Sendable {
  case gamma(shape: Double)
  case weibull(shape: Double)

  func sample(_ random: inout SeededGenerator) -> Double {
    switch self {
    case .gamma(let shape): Self.gamma(shape, &random) / shape
    case .weibull(let shape):
      // The inverse of the distribution function.
      pow(-log(1 - Double.random(in: 0..<1, using: &random)), 1 / shape) / tgamma(1 + 1 / shape)
    }
  }

  /// Marsaglia and Tsang, "A simple method for generating gamma variables", 2000.
  private static func gamma(_ shape: Double, _ random: inout SeededGenerator) -> Double {
    if shape < 1 {
      let uniform = Double.random(in: 0..<1, using: &random)
      return gamma(shape + 1, &random) * pow(uniform, 1 / shape)
    }
    let d = shape - 1.0 / 3
    let c = 1 / (9 * d).squareRoot()
    while true {
      let x = normal(&random)
      let v = (1 + c * x) * (1 + c * x) * (1 + c * x)
      guard v > 0 else { continue }
      let uniform = Double.random(in: 0..<1, using: &random)
      if log(uniform) < 0.5 * x * x + d - d * v + d * log(v) { return d * v }
    }
  }

  /// Box and Muller, 1958.
  private static func normal(_ random: inout SeededGenerator) -> Double {
    let radius = (-2 * log(1 - Double.random(in: 0..<1, using: &random))).squareRoot()
    return radius * cos(2 * Double.pi * Double.random(in: 0..<1, using: &random))
  }
}
