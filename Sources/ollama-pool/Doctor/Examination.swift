import GPUInventory
import Glibc
import Launching
import PoolConfiguration
import Supervisor

/// All that `doctor` looks at, in the order in which things depend on each other.
struct Examination {
  /// Where the configuration is read from; nil: the usual place.
  var configurationPath: String?
  var sockets: SocketFolder

  func findings() async -> [Finding] {
    let (loaded, configuration) = read()
    let settings = loaded.settings
    let installation = Installation.current
    let systemd = await SystemdFacts.read()
    var findings =
      [configuration] + ContextExamination.findings(settings)
      + SystemdExamination.findings(systemd.version, installation)
    let user = instancesUser(installation, settings, &findings)
    findings += UserExamination.run(installation, user)
    findings.append(OllamaExamination.run(installation, settings))
    let variables = poolVariables(systemd, installation, user)
    if let user {
      findings += await StoreExamination.run(
        settings, user, environment: variables.own, service: systemd.installedOllama)
    }
    let gpus = await GPUFacts.read(settings)
    let plan = examine(gpus, user, loaded, installation, &findings)
    findings += VariableExamination.findings(
      VariableExamination.configured(settings) + variables.all, settings.gpus,
      hasNVIDIA: settings.gpus.asksNVIDIA ? gpus?.hasNVIDIA : nil)
    let status = await StatusReader.read(sockets)
    let ports = await PortExamination.read(
      SocketExamination.listen(installation, settings), own: SocketExamination.own(status),
      instances: plan?.sites.map { "\($0.id)" } ?? [], first: settings.instancePorts)
    findings += SharingExamination.findings(
      units: systemd.ollamaUnits, servers: await SeenProcess.ollamaServers(), gpus, ports: PortExamination.held(ports),
      busyMemory: settings.busyMemory)
    return findings + SocketExamination.findings(status) + PortExamination.findings(ports)
  }

  /// What holds where the files are wrong is the default, so that the rest can be looked at all the same.
  private func read() -> (LoadedConfiguration, Finding) {
    do throws(ConfigurationError) {
      let loaded = try ConfigurationReader.read(path: configurationPath)
      let files = loaded.files.isEmpty ? "no file: all by default" : loaded.files.joined(separator: ", ")
      return (loaded, .ok("configuration", files))
    } catch {
      return (
        LoadedConfiguration.default,
        .problem(
          "configuration", error.problems.first.map { "\($0)" } ?? "it is wrong",
          remedy:
            "correct it, or look as root if it is closed to you; `ollama-pool config check` shows all that is wrong")
      )
    }
  }

  private func instancesUser(
    _ installation: Installation, _ settings: Settings, _ findings: inout [Finding]
  ) -> InstancesUser? {
    do throws(LaunchError) {
      return try InstancesUser.find(installation, settings)
    } catch {
      findings.append(
        .problem("users", error.message, remedy: "`systemd-sysusers`, or correct `instance_user`"))
      return nil
    }
  }

  /// - Returns: what would run where; nil where the drivers don't say what there is.
  private func examine(
    _ facts: GPUFacts?, _ user: InstancesUser?, _ loaded: LoadedConfiguration, _ installation: Installation,
    _ findings: inout [Finding]
  ) -> PlacementPlan? {
    guard var facts else {
      findings.append(DriverExamination.silence(.read()))
      return nil
    }
    findings += DriverExamination.findings(facts, loaded.settings.gpus)
    var numbering = GPUNumbering.stored(in: installation.stateFolder)
    facts.inventory = facts.inventory.expecting(numbering, loaded.settings)
    findings += GPUExamination.findings(facts)
    if let user {
      findings += NodeExamination.findings(
        NodeExamination.access(facts.inventory.gpus, user), user, isInContainer: facts.isInContainer)
    }
    let plan = PlacementPlan(loaded, inventory: facts.inventory, numbering: &numbering)
    findings += PlacementExamination.findings(
      plan, hasDeviceRules: user?.isOwn == false, closedNumbers: installation.closedStateFolder)
    return plan
  }

  /// Variables of the pool's daemons, in which OLLAMA_MODELS may be, and all that may reach instances.
  ///
  /// What this shell has is what a pool that is started from it gets; what systemd has, its units.
  private func poolVariables(
    _ systemd: SystemdFacts, _ installation: Installation, _ user: InstancesUser?
  ) -> (own: [String: String], all: [VariableExamination.Variable]) {
    let manager = VariableExamination.variables(systemd.managerEnvironment, of: "systemd's own environment")
    guard installation.isService else {
      let own = InheritedVariables.own
      let shell = VariableExamination.variables(own.map { "\($0.key)=\($0.value)" }, of: "this shell")
      return (own, user?.isOwn == false ? shell + manager : shell)
    }
    let unit = VariableExamination.variables(systemd.supervisorEnvironment, of: Daemon.supervisor.unit)
    return (Dictionary((manager + unit).map { ($0.name, $0.value) }) { $1 }, unit + manager)
  }
}

/// Whether the pool is a service of this machine, or something that its user runs.
struct Installation {
  /// The folder of its units; nil if they are not installed.
  var units: String?

  var isService: Bool { units != nil }

  /// Where its supervisor keeps what it knows, whoever looks.
  var stateFolder: String { isService ? Folders.state(userID: 0) : Folders.state() }

  /// The same, where it is closed to this process.
  var closedStateFolder: String? { access(stateFolder, R_OK | X_OK) != 0 && errno == EACCES ? stateFolder : nil }

  static var current: Installation {
    let folders = ["/etc", "/usr/local/lib", "/usr/lib", "/lib"].map { "\($0)/systemd/system" }
    return Installation(units: folders.first { FileStatus(of: "\($0)/\(Daemon.dispatcher.unit)") != nil })
  }
}
