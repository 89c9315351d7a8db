/// What a server serves under one interface name.
package protocol VarlinkInterface: Sendable {
  /// The qualified name, `org.example.Ping`.
  var name: String { get }

  /// The interface definition, the text of its `.varlink` file, which clients read by introspection.
  var description: String { get }

  /// Answers `call`, or keeps it and answers later, from any thread.
  ///
  /// Runs on the connection's event loop and must not block it. A thrown error is the answer. A call that is neither
  /// answered nor kept is answered `org.varlink.service.MethodNotImplemented`.
  func handle(_ call: VarlinkCall) throws(VarlinkErrorReply)
}
