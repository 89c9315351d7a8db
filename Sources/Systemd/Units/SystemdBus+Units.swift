/// What can be asked of systemd.
extension SystemdBus {
  /// Which of a unit's processes get a signal.
  package enum Whom: String, Sendable {
    case main, control, all
  }

  /// Creates a unit that lives in memory only, starts it, and waits until the start is through.
  ///
  /// With `Type=exec` that is when the program runs: a missing one gives ``JobResult/failed``, and not an error.
  /// A unit of that name, also a failed one that lingers, is ``SystemdError/Code/unitExists``.
  package func startTransientUnit(
    _ name: String, properties: [UnitProperty]
  ) async throws(SystemdError) -> JobResult {
    let pairs = properties.map { BusValue.structure([.string($0.name), .variant($0.value)]) }
    return try await job(
      "StartTransientUnit", name,
      [.string("fail"), .array(of: "(sv)", pairs), .array(of: "(sa(sv))", [])])
  }

  /// Stops a unit and waits until it has stopped.
  @discardableResult
  package func stopUnit(_ name: String) async throws(SystemdError) -> JobResult {
    try await job("StopUnit", name, [.string("replace")])
  }

  /// Orders a stop, which also takes back a start that has not come through, and does not wait for either.
  package func orderStop(_ name: String) async throws(SystemdError) {
    _ = try await manager("StopUnit", name, [.string("replace")])
  }

  /// Sends a signal, and does not wait for what it does.
  package func killUnit(_ name: String, whom: Whom, signal: Int32) async throws(SystemdError) {
    _ = try await manager("KillUnit", name, [.string(whom.rawValue), .int32(signal)])
  }

  /// Forgets that a unit has failed, so that its name is free again.
  package func resetFailedUnit(_ name: String) async throws(SystemdError) {
    _ = try await manager("ResetFailedUnit", name)
  }

  /// Changes settings of a unit while it runs. What is changed of a transient unit goes when it goes.
  package func setProperties(_ properties: [UnitProperty], of name: String) async throws(SystemdError) {
    let pairs = properties.map { BusValue.structure([.string($0.name), .variant($0.value)]) }
    // At run time only: nothing is written below /etc.
    _ = try await manager("SetUnitProperties", name, [.boolean(true), .array(of: "(sv)", pairs)])
  }

  /// Keeps a unit in memory after it has ended, for as long as this connection lasts. `AddRef=true` does the same
  /// from the start.
  package func ref(_ name: String) async throws(SystemdError) {
    _ = try await manager("RefUnit", name)
  }

  /// Gives up a reference.
  package func unref(_ name: String) async throws(SystemdError) {
    _ = try await manager("UnrefUnit", name)
  }

  /// The names of the units in memory that match one of the patterns (as a shell's: `ollama-instance-*.service`).
  package func listUnits(patterns: [String]) async throws(SystemdError) -> [String] {
    let answer = try await call(
      BusRequest(
        path: Self.managerPath, interface: Self.managerInterface, member: "ListUnitsByPatterns",
        arguments: [.strings([]), .strings(patterns)],
        operation: "ListUnitsByPatterns \(patterns.joined(separator: " "))"))
    return answer.first?.elements?.compactMap { $0.elements?.first?.text } ?? []
  }

  /// All that is known of one service, read in one go. One that is not there is ``SystemdError/Code/noSuchUnit``.
  package func unitProperties(_ name: String) async throws(SystemdError) -> UnitStatus {
    let operation = "GetAll \(name)"
    let answer = try await call(
      BusRequest(
        path: try UnitPath.encode(name), interface: Self.propertiesInterface, member: "GetAll",
        arguments: [.string("")], operation: operation))
    guard let properties = answer.first?.dictionary, let loadState = properties["LoadState"]?.text else {
      throw SystemdError(.unexpectedReply, "no properties of a unit in the answer", operation: operation)
    }
    guard loadState != "not-found" else {
      throw SystemdError(.noSuchUnit, "Unit \(name) is not loaded.", operation: operation)
    }
    return UnitStatus(name: name, properties: properties)
  }

  /// systemd's version as it says it: "252.39-1~deb12u2".
  package func version() async throws(SystemdError) -> String {
    guard let version = try await managerProperty("Version").text else {
      throw SystemdError(.unexpectedReply, "no version in the answer", operation: "Get Version")
    }
    return version
  }

  /// What every unit of this manager gets ("NAME=value" each), unless it says otherwise itself.
  package func environment() async throws(SystemdError) -> [String] {
    try await managerProperty("Environment").texts ?? []
  }

  private func managerProperty(_ name: String) async throws(SystemdError) -> BusValue {
    let operation = "Get \(name)"
    let answer = try await call(
      BusRequest(
        path: Self.managerPath, interface: Self.propertiesInterface, member: "Get",
        arguments: [.string(Self.managerInterface), .string(name)], operation: operation))
    guard let value = answer.first else {
      throw SystemdError(.unexpectedReply, "nothing in the answer", operation: operation)
    }
    return value
  }

  private func job(
    _ method: String, _ name: String, _ arguments: [BusValue]
  ) async throws(SystemdError) -> JobResult {
    JobResult(try await manager(method, name, arguments, beginsJob: true).first?.text ?? "")
  }

  private func manager(
    _ method: String, _ name: String, _ arguments: [BusValue] = [], beginsJob: Bool = false
  ) async throws(SystemdError) -> [BusValue] {
    try await call(
      BusRequest(
        path: Self.managerPath, interface: Self.managerInterface, member: method,
        arguments: [.string(name)] + arguments, operation: "\(method) \(name)"),
      beginsJob: beginsJob)
  }
}
