/// An error as the protocol carries it: a qualified name and an object of parameters.
///
/// A handler throws it as its answer; a client finds it in ``VarlinkError/Code/remote(_:)``.
package struct VarlinkErrorReply: Error, Sendable, Equatable, CustomStringConvertible {
  /// For example `org.varlink.service.InvalidParameter`.
  package let name: String
  /// An object.
  package let parameters: JSONValue

  package init(_ name: String, _ parameters: [String: JSONValue] = [:]) {
    self.name = name
    self.parameters = .object(parameters)
  }

  package var description: String {
    guard case .object(let members) = parameters, !members.isEmpty else { return name }
    let shown = members.sorted { $0.key < $1.key }.map { "\($0.key): \(Self.text($0.value))" }
    return "\(name) (\(shown.joined(separator: ", ")))"
  }

  private static func text(_ value: JSONValue) -> String {
    switch value {
    case .null: "null"
    case .boolean(let value): "\(value)"
    case .integer(let value): "\(value)"
    case .double(let value): "\(value)"
    case .string(let value): value
    case .array(let values): "[" + values.map(text).joined(separator: ", ") + "]"
    case .object(let members): "{" + members.keys.sorted().joined(separator: ", ") + "}"
    }
  }
}

/// The errors of `org.varlink.service`, which every service may answer.
extension VarlinkErrorReply {
  package static func interfaceNotFound(_ interface: String) -> Self {
    Self("org.varlink.service.InterfaceNotFound", ["interface": .string(interface)])
  }

  /// - Parameter method: the qualified name, ``VarlinkCall/name``.
  package static func methodNotFound(_ method: String) -> Self {
    Self("org.varlink.service.MethodNotFound", ["method": .string(method)])
  }

  /// - Parameter reason: for the reader of the error; the protocol itself knows only `method`.
  package static func methodNotImplemented(_ method: String, reason: String? = nil) -> Self {
    var parameters: [String: JSONValue] = ["method": .string(method)]
    if let reason { parameters["reason"] = .string(reason) }
    return Self("org.varlink.service.MethodNotImplemented", parameters)
  }

  /// - Parameter parameter: the one that is missing, of a wrong type or out of range, as `instances[2].url`.
  package static func invalidParameter(_ parameter: String) -> Self {
    Self("org.varlink.service.InvalidParameter", ["parameter": .string(parameter)])
  }

  /// The peer's user may not call this method.
  package static let permissionDenied = Self("org.varlink.service.PermissionDenied")

  /// The method answers with a stream only, and was called without `more`.
  package static let expectedMore = Self("org.varlink.service.ExpectedMore")
}
