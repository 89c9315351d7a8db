/// Why something that was asked of systemd did not happen.
package struct SystemdError: Error, Equatable, Sendable, CustomStringConvertible {
  package enum Code: Hashable, Sendable {
    /// A unit of that name is there already, perhaps a failed one that lingers: reset it, or stop it first.
    case unitExists
    /// systemd has no such unit loaded; a collected transient unit looks the same.
    case noSuchUnit
    /// The caller may not do this: system units need uid 0.
    case accessDenied
    /// A malformed unit name, or a value of the wrong type.
    case invalidArguments
    /// A property that this version of systemd does not know, or that can't be set on a transient unit.
    case unknownProperty
    /// The properties do not make a unit together, such as a service without ExecStart.
    case badUnitSetting
    /// The bus or systemd went away (dbus restarted, `systemctl daemon-reexec`). Whether the request took
    /// effect is not known: list the units after ``UnitChange/reconnected``.
    case connectionLost
    /// No answer, or no end of the job, within the deadline. The job may still be running.
    case timedOut
    /// The task that waited was cancelled. The job, if one was begun, goes on.
    case cancelled
    /// `close()` was called.
    case closed
    /// An answer that does not have the documented form.
    case unexpectedReply
    /// Any other D-Bus error, by its name.
    case other(String)
  }

  package let code: Code
  /// systemd's own words where it sent some.
  package let message: String
  /// What was asked for: "StartTransientUnit ollama-instance-gpu0.service".
  package let operation: String

  package var description: String { "\(operation): \(message)" }

  init(_ code: Code, _ message: String, operation: String) {
    self.code = code
    self.message = message
    self.operation = operation
  }

  /// A D-Bus error as it came in a reply.
  init(dbusName name: String, message: String, operation: String) {
    self.init(Code(dbusName: name), message.isEmpty ? name : message, operation: operation)
  }

  /// A negative errno value, as libsystemd returns it.
  init(errno result: Int32, operation: String) {
    let text = describe(errno: -result)
    self.init(Code(errno: -result), text, operation: operation)
  }
}

extension SystemdError.Code {
  /// The names that systemd 252–257 and dbus-daemon were seen to use.
  init(dbusName name: String) {
    switch name {
    case "org.freedesktop.systemd1.UnitExists": self = .unitExists
    case "org.freedesktop.systemd1.NoSuchUnit": self = .noSuchUnit
    case "org.freedesktop.systemd1.BadUnitSetting": self = .badUnitSetting
    case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.AuthFailed",
      "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "System.Error.EPERM", "System.Error.EACCES":
      self = .accessDenied
    case "org.freedesktop.DBus.Error.InvalidArgs", "org.freedesktop.DBus.Error.InvalidSignature",
      "System.Error.ENXIO", "System.Error.EINVAL":
      self = .invalidArguments
    case "org.freedesktop.DBus.Error.PropertyReadOnly", "org.freedesktop.DBus.Error.UnknownProperty":
      self = .unknownProperty
    case "org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Disconnected",
      "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
      "System.Error.ECONNRESET", "System.Error.ENOTCONN":
      self = .connectionLost
    case "org.freedesktop.DBus.Error.Timeout", "org.freedesktop.DBus.Error.TimedOut", "System.Error.ETIMEDOUT":
      self = .timedOut
    default:
      // dbus-daemon tries to start a systemd that is not on the bus, and fails in one of several ways.
      self = name.hasPrefix("org.freedesktop.DBus.Error.Spawn.") ? .connectionLost : .other(name)
    }
  }
}
