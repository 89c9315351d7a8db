/// Why the simulator cannot start; the message is for the operator.
struct SimulatorError: Error {
  let message: String

  init(_ message: String) { self.message = message }

  /// - Parameter call: what was tried, as Go writes it: "mkdir /x".
  init(call: String, errno code: Int32) { message = "\(call): \(SystemMessage.of(code))" }
}
