/// The known name that a wrong one was probably meant to be.
enum NearestName {
  /// `nil` where none is near: at most one edit for three letters, two for six, three for nine and so on.
  static func of(_ wrong: String, in known: [String]) -> String? {
    guard wrong.count <= 64 else { return nil }
    let wanted = normalized(wrong)
    let distances = known.map { (name: $0, distance: distance(wanted, normalized($0))) }
    guard let best = distances.min(by: { $0.distance < $1.distance }) else { return nil }
    return best.distance <= max(1, min(wanted.count, best.name.count) / 3) ? best.name : nil
  }

  /// `maximumWait`, `maximum-wait` and `maximum_wait` are the same.
  private static func normalized(_ name: String) -> [Character] {
    name.lowercased().filter { $0 != "_" && $0 != "-" }.map { $0 }
  }

  /// Insertions, deletions, substitutions and swaps of neighbours that lead from one to the other.
  private static func distance(_ left: [Character], _ right: [Character]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for (row, a) in left.enumerated() {
      var current = [row + 1]
      for (column, b) in right.enumerated() {
        var best = min(last[column] + (a == b ? 0 : 1), last[column + 1] + 1, current[column] + 1)
        if row > 0, column > 0, a == right[column - 1], left[row - 1] == b {
          best = min(best, beforeLast[column - 1] + 1)
        }
        current.append(best)
      }
      (beforeLast, last) = (last, current)
    }
    return last[right.count]
  }
}
