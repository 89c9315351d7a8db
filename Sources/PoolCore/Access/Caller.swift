/// Who sends a request, and what that one may.
package struct Caller: Hashable, Sendable {
  package enum Role: String, Hashable, Sendable, CaseIterable {
    case user
    /// May pull and delete models, and sees and ends others' requests.
    case administrator
  }

  /// What tells who somebody is.
  package enum Proof: Hashable, Sendable {
    /// Nothing, and nothing is asked for: the endpoint can be reached from this machine alone, and has no keys yet.
    case local
    /// An API key.
    case key(id: String, name: String)
    /// The header of a trusted proxy.
    case proxy
    /// Nothing but an address.
    case anonymous
  }

  package var proof: Proof
  package var role: Role
  /// The name of the class, as the configuration has it.
  package var className: String
  package var share: DispatchRequest.Share

  package init(proof: Proof, role: Role = .user, className: String, share: DispatchRequest.Share) {
    self.proof = proof
    self.role = role
    self.className = className
    self.share = share
  }

  /// Whose the request is; what the caller sees as own is what this one has.
  package var user: UserID { share.user }
  package var isAdministrator: Bool { role == .administrator }

  /// For people and the journal; nil for whoever is only an address.
  package var name: String? {
    switch proof {
    case .local, .anonymous: nil
    case .key(_, let name): name
    case .proxy: String(share.user.name.dropFirst(Self.userPrefix.count))
    }
  }

  /// What begins the identity of a user whom a proxy names, of one with a key, and of an address: no name of one kind
  /// is one of another.
  static let userPrefix = "user:"
  static let keyPrefix = "key:"
  static let addressPrefix = "address:"
}
