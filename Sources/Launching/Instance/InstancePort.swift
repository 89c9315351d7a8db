import PoolConfiguration

/// Which port an instance listens on.
package enum InstancePort {
  /// The port for an attempt to start.
  ///
  /// Placement i of n has the ports `first` + i, + i + n, + i + 2n, … within ``Settings/instancePortSpan``, and takes
  /// the next one at each attempt, then the first again. So no two placements ever try the same port.
  ///
  ///     first 11500, 4 placements    attempt 0   1       2       …  63      64
  ///     placement 1                  11501       11505   11509   …  11753   11501
  ///
  /// - Parameters:
  ///   - index: the placement's position, from 0.
  ///   - count: how many placements there are.
  ///   - attempt: the number of failed starts before, from 0.
  package static func port(
    first: UInt16, placement index: Int, of count: Int, attempt: Int
  ) throws(LaunchError) -> UInt16 {
    let count = max(count, index + 1)
    let candidates = max(1, (Settings.instancePortSpan - 1 - index) / count + 1)
    let port = Int(first) + index + attempt % candidates * count
    guard let port = UInt16(exactly: port) else {
      throw LaunchError(
        .noPort, "placement \(index) has no port: \(port) is beyond 65535; choose a lower instance_ports than \(first)")
    }
    return port
  }
}
