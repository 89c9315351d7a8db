import PoolCore
import Testing

@testable import Chat

@Suite struct SessionOwnerTests {
  private static let names = ["", "a", "user:a", "key:a", "anonymous a", "user:key:a", "user:anonymous a"]

  @Test("A restart makes no owner another one, and no name of one kind is one of another")
  func stored() {
    var owners: [SessionOwner] = []
    for name in Self.names {
      for proof in [.key(id: name, name: "k"), .proxy, .local, .anonymous] as [Caller.Proof] {
        // A proxy's users, and nobody else, begin so.
        let user = proof == .proxy ? "user:" + name : name
        let caller = Caller(proof: proof, className: "free", share: DispatchRequest.Share(user: UserID(user)))
        let owner = SessionOwner(caller)
        #expect(SessionOwner(stored: owner.stored) == owner)
        #expect(owner.isAnonymous == (proof == .local || proof == .anonymous))
        if !owners.contains(owner) { owners.append(owner) }
      }
    }
    #expect(owners.count == 3 * Self.names.count && Set(owners.map(\.stored)).count == owners.count)
  }
}
