/// Why the simulator cannot start; the message is for the operator.
struct SimulatorError: Error, CustomStringConvertible {
  let message: String

  init(_ message: String) { self.message = message }

  /// For the argument parser, which prints it.
  var description: String { message }

  /// - Parameter call: what was tried, as Go writes it: "mkdir /x".
  init(call: String, errno code: Int32) { message = "\(call): \(SystemMessage.of(code))" }
}
