import ArgumentParser
import Dispatcher
import PoolConfiguration

struct Preflight: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Refuse to start where a port is held, and say by whom.",
    discussion: "What the .socket unit of the endpoint runs before it listens.", shouldDisplay: false)

  static let endpointUnit = "ollama-pool-dispatcher.socket"

  @OptionGroup var configuration: ConfigurationOptions
  @Argument(help: "Addresses, or .socket units that listen at some; without any those of the configuration.")
  var places: [String] = []

  func run() throws {
    for (address, origin) in try addresses {
      guard Binding.attempt(address) == .taken else { continue }
      let holder = PortHolder.find(port: address.port)
      throw CommandFailure(
        """
        \(address) is held by \(holder?.description ?? "another process"): \(PortHolder.remedy(against: holder)), or give \
        the pool another address: \(origin)
        """)
    }
  }

  /// With where they are to be changed.
  private var addresses: [(ListenAddress, origin: String)] {
    get throws {
      guard !places.isEmpty else {
        let loaded = try configuration.read()
        return loaded.settings.listen.map { ($0, "`listen` in the configuration") }
      }
      return try places.flatMap { place in
        if place.hasSuffix(".socket") {
          return Self.addresses(ofUnit: place).map { ($0, "`systemctl edit \(place)`") }
        }
        guard let address = ListenAddress(parsing: place) else {
          throw CommandFailure("\(place) is no address to listen at: write it as 127.0.0.1:11434")
        }
        return [(address, "`listen` in the configuration")]
      }
    }
  }

  /// Asked through systemctl, which root can use before the bus is up. One that can't be read has none: systemd itself
  /// then says what is wrong with the unit.
  static func addresses(ofUnit unit: String) -> [ListenAddress] {
    addresses(listed: Execution.output(of: ["systemctl", "show", "--property=Listen", "--value", unit]) ?? "")
  }

  /// - Parameter text: lines as `127.0.0.1:11434 (Stream)`; those of Unix sockets are passed over.
  static func addresses(listed text: String) -> [ListenAddress] {
    text.split(separator: "\n").compactMap { line in
      line.hasSuffix(" (Stream)") ? ListenAddress(parsing: String(line.dropLast(" (Stream)".count))) : nil
    }
  }
}
