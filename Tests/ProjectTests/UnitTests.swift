import Testing

/// A file in systemd's format: settings by section, in their order; a name may come more than once.
struct UnitFile {
  private var settings: [(section: String, name: String, value: String)] = []

  init(text: String) {
    var section = ""
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      if line.hasPrefix("[") {
        section = String(line.dropFirst().prefix { $0 != "]" })
      } else if let equals = line.firstIndex(of: "=") {
        settings.append((section, String(line[..<equals]), String(line[line.index(after: equals)...])))
      }
    }
  }

  func values(_ section: String, _ name: String) -> [String] {
    settings.filter { $0.section == section && $0.name == name }.map(\.value)
  }

  /// All words of all lines of that name.
  func words(_ section: String, _ name: String) -> Set<String> {
    Set(values(section, name).flatMap { $0.split(separator: " ").map(String.init) })
  }
}

struct UnitTests {
  private static let daemons = ["dispatcher", "supervisor"]

  private func unit(_ name: String) throws -> UnitFile { UnitFile(text: try Repository.text("units/\(name)")) }

  /// What every command of the units runs, without systemd's prefixes.
  private func commands() throws -> [[String]] {
    try Repository.files(below: "units", ".service", ".socket").flatMap { path -> [[String]] in
      let file = UnitFile(text: try Repository.text(path))
      return ["Service", "Socket"].flatMap { section in
        ["ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost"].flatMap {
          file.values(section, $0).map { $0.split(separator: " ").map(String.init) }
        }
      }
    }
  }

  @Test func `what the units run are products, or of the base system`() throws {
    let products = try Repository.text("Package.swift").matches(of: /\.executable\(name: "([\w-]+)"/).map { $0.1 }
    let known = Set(products.map { "/usr/local/bin/\($0)" } + ["/bin/kill", "/bin/sh"])
    let commands = try commands()
    #expect(commands.count >= 3)
    #expect(Set(commands.map(\.[0])).subtracting(known) == [])
  }

  @Test func `the subcommands that the units call are there`() async throws {
    let sources = try Repository.files(below: "Sources/ollama-pool", ".swift")
    for command in try commands() where command[0].hasSuffix("/ollama-pool") {
      let name = command[1]
      let type = name.prefix(1).uppercased() + name.dropFirst()
      let definition = #"commandName: "\#(name)"|struct (\#(type)|\#(type)Command):"#
      #expect(try await !Repository.lines(of: sources, matching: definition).isEmpty, "ollama-pool \(name)")
    }
  }

  @Test func `users and groups in the units come from sysusers.d`() throws {
    let users = try Repository.lines("units/ollama-pool.sysusers").filter { $0.text.hasPrefix("u ") }
      .map { String($0.text.split(separator: " ")[1]) }
    #expect(Set(users) == ["ollama-pool", "ollama-pool-instance"])
    let known = Set(users + ["root"])
    for path in try Repository.files(below: "units", ".service", ".socket") {
      let file = UnitFile(text: try Repository.text(path))
      for (section, names) in [("Service", ["User", "Group"]), ("Socket", ["SocketUser", "SocketGroup"])] {
        for name in names { #expect(file.words(section, name).isSubset(of: known), "\(path): \(name)=") }
      }
    }
    let tmpfiles = try Repository.lines("units/ollama-pool.tmpfiles").map(\.text).filter { !$0.hasPrefix("#") }
    for line in tmpfiles where !line.isEmpty {
      let fields = line.split(separator: " ").map(String.init)
      #expect(known.isSuperset(of: fields[3...4]), "\(line)")
    }
  }

  @Test func `the installed user and the name in the code agree`() throws {
    let account = try Repository.text("Sources/Launching/Accounts/InstanceAccount.swift")
    #expect(account.contains("\"ollama-pool-instance\""))
  }

  @Test func `a daemon that fails over and over keeps its sockets`() throws {
    for name in Self.daemons {
      let service = try unit("ollama-pool-\(name).service")
      #expect(service.values("Unit", "StartLimitIntervalSec") == ["0"])
      #expect(service.values("Service", "Restart") == ["always"])
      #expect(service.values("Service", "RestartPreventExitStatus") == ["78"])
      #expect(service.values("Service", "RuntimeDirectory") == [])
    }
  }

  @Test func `the stop of the target goes supervisor, dispatcher, instances`() throws {
    let supervisor = try unit("ollama-pool-supervisor.service")
    #expect(supervisor.words("Unit", "After").contains("ollama-pool-dispatcher.service"))
    let parts = try Repository.files(below: "units", ".service", ".socket")
    for path in parts {
      #expect(UnitFile(text: try Repository.text(path)).words("Unit", "PartOf") == ["ollama-pool.target"], "\(path)")
    }
    let target = try unit("ollama-pool.target")
    let names = Set(parts.map { String($0.split(separator: "/")[1]) })
    #expect(target.words("Unit", "Wants").union(target.words("Unit", "Requires")) == names)
    #expect(target.words("Unit", "After") == names)
  }

  @Test func `the supervisor starts after the bus, and finds a driver that comes later`() throws {
    let supervisor = try unit("ollama-pool-supervisor.service")
    #expect(supervisor.words("Unit", "After").isSuperset(of: ["dbus.socket", "dbus.service"]))
    #expect(supervisor.values("Service", "DeviceAllow") == ["char-nvidia* rw", "char-195 rw", "char-226 rw"])
  }

  @Test func `each daemon is named what the others call it`() throws {
    let http = try unit("ollama-pool-dispatcher.socket")
    #expect(http.values("Socket", "FileDescriptorName") == ["http"])
    for name in Self.daemons {
      let service = try unit("ollama-pool-\(name).service")
      #expect(service.values("Service", "SyslogIdentifier") == ["ollama-pool-\(name)"])
      let socket = try unit(
        name == "dispatcher" ? "ollama-pool-dispatcher-control.socket" : "ollama-pool-\(name).socket")
      #expect(socket.values("Socket", "ListenStream") == ["/run/ollama-pool/\(name).sock"])
      #expect(socket.values("Socket", "FileDescriptorName") == ["control"])
      #expect(socket.values("Socket", "SocketMode") == ["0660"])
      #expect(socket.values("Socket", "Service") == ["ollama-pool-\(name).service"])
    }
  }

  @Test func `no privilege creeps in`() throws {
    for name in Self.daemons {
      let service = try unit("ollama-pool-\(name).service")
      #expect(service.values("Service", "CapabilityBoundingSet") == [""])
      #expect(service.values("Service", "AmbientCapabilities") == [""])
      #expect(service.values("Service", "NoNewPrivileges") == ["yes"])
      #expect(service.values("Service", "ProtectSystem") == ["strict"])
    }
    let supervisor = try unit("ollama-pool-supervisor.service")
    #expect(supervisor.values("Service", "PrivateNetwork") == ["yes"])
    #expect(supervisor.values("Service", "RestrictAddressFamilies") == ["AF_UNIX"])
    #expect(supervisor.values("Service", "DevicePolicy") == ["closed"])
    let dispatcher = try unit("ollama-pool-dispatcher.service")
    #expect(dispatcher.values("Service", "User") == ["ollama-pool"])
    #expect(dispatcher.words("Service", "InaccessiblePaths") == ["-/run/dbus", "-/run/systemd/private"])
  }
}
