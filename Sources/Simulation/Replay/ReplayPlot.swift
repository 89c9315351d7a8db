import PoolCore

/// A replay as a picture over time: arrivals, what waits, instances, waits. SVG, light or dark as its reader has it.
package struct ReplayPlot: Sendable {
  private let title: String
  private let log: ReplayLog
  private let panels: [Panel]

  private struct Panel: Sendable {
    let title: String
    let unit: String
    let style: String
    /// One for each bucket.
    let values: [Double]
  }

  private static let buckets = 480
  private static let (width, height, left, top, gap) = (960.0, 110.0, 60.0, 56.0, 40.0)

  package init(_ title: String, _ log: ReplayLog, of workload: Workload) {
    self.title = title
    self.log = log
    let span = max(1e-9, (log.ended - log.began).seconds)
    func bucket(_ at: Instant) -> Int {
      min(Self.buckets - 1, max(0, Int((at - log.began).seconds / span * Double(Self.buckets))))
    }
    var arrivals = [Double](repeating: 0, count: Self.buckets)
    var waits = arrivals
    var waiting = arrivals
    for (request, seen) in zip(workload.requests, log.requests) {
      let at = log.began + (request.arrival - .zero)
      arrivals[bucket(at)] += 1
      waits[bucket(at)] = max(waits[bucket(at)], ((seen.startedAt ?? log.ended) - at).seconds)
    }
    for sample in log.samples { waiting[bucket(sample.at)] = max(waiting[bucket(sample.at)], Double(sample.waiting)) }
    let perMinute = 60 * Double(Self.buckets) / span
    panels = [
      Panel(title: "Arrivals", unit: "a minute", style: "a", values: arrivals.map { $0 * perMinute }),
      Panel(title: "Waiting", unit: "requests, at most", style: "w", values: waiting),
      Panel(title: "Instances", unit: "that hold their GPUs", style: "i", values: Self.held(log, span: span)),
      Panel(title: "Longest wait", unit: "s, by arrival", style: "l", values: waits),
    ]
  }

  /// The mean of each bucket.
  static func held(_ log: ReplayLog, span: Double) -> [Double] {
    var held = [Double](repeating: 0, count: buckets)
    let length = span / Double(buckets)
    for (index, step) in log.held.enumerated() where step.count > 0 {
      let end = index + 1 < log.held.count ? log.held[index + 1].at : log.ended
      let from = max(0, (step.at - log.began).seconds / length)
      let to = min(Double(buckets), (end - log.began).seconds / length)
      guard from < to else { continue }
      for bucket in Int(from)...min(buckets - 1, Int(to)) {
        held[bucket] += Double(step.count) * max(0, min(to, Double(bucket + 1)) - max(from, Double(bucket)))
      }
    }
    return held
  }

  package var svg: String {
    let (width, height) = (Self.width, Self.height)
    let total = Self.top + Double(panels.count) * (height + Self.gap) + 10
    var svg = """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Self.text(width + Self.left + 20)) \(Self.text(total))" \
      font-family="system-ui, sans-serif" font-size="12">
      <style>
      svg { background: #fff; } text { fill: #333; } .axis { stroke: #bbb; } path { stroke-width: 1; }
      .a { fill: #7aa6d8; stroke: #2f6cae; } .w { fill: #e3b04b; stroke: #a97a13; }
      .i { fill: #8cc084; stroke: #3f7f36; } .l { fill: #d98282; stroke: #a03c3c; }
      @media (prefers-color-scheme: dark) { svg { background: #1b1b1d; } text { fill: #ddd; } .axis { stroke: #555; } }
      </style>
      <text x="\(Self.text(Self.left))" y="24" font-size="15">\(Self.escaped(title))</text>

      """
    for (index, panel) in panels.enumerated() {
      let base = Self.top + Double(index) * (height + Self.gap) + height
      svg += draw(panel, base: base)
    }
    return svg + "</svg>\n"
  }

  private func draw(_ panel: Panel, base: Double) -> String {
    let most = panel.values.max() ?? 0
    let scale = most > 0 ? Self.height / most : 0
    let step = Self.width / Double(panel.values.count)
    var path = "M\(Self.text(Self.left)) \(Self.text(base))"
    for (index, value) in panel.values.enumerated() {
      let y = Self.text(base - value * scale)
      path +=
        "L\(Self.text(Self.left + Double(index) * step)) \(y)L\(Self.text(Self.left + Double(index + 1) * step)) \(y)"
    }
    path += "L\(Self.text(Self.left + Self.width)) \(Self.text(base))Z"
    var svg = """
      <text x="\(Self.text(Self.left))" y="\(Self.text(base - Self.height - 6))">\(panel.title), \(panel.unit)</text>
      <text x="\(Self.text(Self.left - 6))" y="\(Self.text(base - Self.height + 10))" text-anchor="end">\
      \(Self.text(most))</text>
      <text x="\(Self.text(Self.left - 6))" y="\(Self.text(base))" text-anchor="end">0</text>
      <path class="\(panel.style)" d="\(path)"/>
      <line class="axis" x1="\(Self.text(Self.left))" y1="\(Self.text(base))" x2="\(Self.text(Self.left + Self.width))" \
      y2="\(Self.text(base))"/>

      """
    let span = (log.ended - log.began).seconds
    for part in 0...6 {
      let x = Self.left + Self.width * Double(part) / 6
      svg +=
        "<text x=\"\(Self.text(x))\" y=\"\(Self.text(base + 15))\" text-anchor=\"middle\">"
        + "\(Self.time(span * Double(part) / 6))</text>\n"
    }
    return svg
  }

  private static func time(_ seconds: Double) -> String {
    let minutes = Int((seconds / 60).rounded())
    return minutes < 60 ? "\(minutes)m" : "\(minutes / 60)h" + (minutes % 60 > 0 ? " \(minutes % 60)m" : "")
  }

  private static func text(_ number: Double) -> String {
    let tenths = Int((number * 10).rounded())
    return tenths.isMultiple(of: 10) ? "\(tenths / 10)" : "\(Double(tenths) / 10)"
  }

  private static func escaped(_ text: String) -> String {
    String(
      text.flatMap { character -> String in
        switch character {
        case "<": "&lt;"
        case ">": "&gt;"
        case "&": "&amp;"
        default: String(character)
        }
      })
  }
}
