/// Sizes in bytes as people read them: `512 MiB`, `4.5 GiB`.
package func byteText(_ bytes: Int) -> String {
  let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
  var (size, unit) = (Double(max(0, bytes)), 0)
  while size >= 1023.5, unit < units.count - 1 { (size, unit) = (size / 1024, unit + 1) }
  let tenths = Int((size * 10).rounded())
  return tenths >= 100 || tenths % 10 == 0 || unit == 0
    ? "\(Int(size.rounded())) \(units[unit])" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
}

extension Sequence<Int> {
  /// The sum of sizes, of which none is taken to be negative; what would leave the range of Int stays at its end.
  var sumOfBytes: Int {
    reduce(0) { sum, bytes in
      let (more, overflow) = sum.addingReportingOverflow(Swift.max(0, bytes))
      return overflow ? .max : more
    }
  }
}
