import ArgumentParser
import PoolConfiguration

/// A duration as the configuration writes it: `30s`, `10m`, `2h`, or plain seconds. More than zero.
struct DurationArgument: ExpressibleByArgument {
  let duration: Duration

  init?(argument: String) {
    guard let duration = DurationText.parse(argument), duration > .zero else { return nil }
    self.duration = duration
  }

  var seconds: Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
  }

  var text: String { DurationText.render(duration) }
}
