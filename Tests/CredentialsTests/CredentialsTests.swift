import Credentials
import Testing

@Suite struct APIKeyTests {
  @Test func `keys differ, and their hash is that of their text`() throws {
    let keys = (0..<100).map { _ in APIKey() }
    #expect(Set(keys.map(\.text)).count == 100)
    for key in keys {
      #expect(key.text.hasPrefix("sk-pool-") && key.text.utf8.count == 8 + 43)
      #expect(try #require(APIKey(text: key.text)).hash == key.hash)
      #expect(key.hash.count == 32)
    }
    #expect(Set(keys.map(\.hash)).count == 100)
  }

  @Test(arguments: ["", "ollama", "sk-abc", "sk-proj-x", "sk-pool-" + String(repeating: "x", count: 300)])
  func `what clients send by habit is no key`(text: String) { #expect(APIKey(text: text) == nil) }
}

@Suite struct CookieSecretTests {
  let secret = CookieSecret(bytes: Array(0..<32))

  @Test func `a pseudonym is the same for the same user and secret`() {
    let other = CookieSecret(bytes: Array(1...32))
    #expect(secret.pseudonym(of: "anna") == secret.pseudonym(of: "anna"))
    #expect(Set(["anna", "otto", "", "anna "].map { secret.pseudonym(of: $0) }).count == 4)
    #expect(secret.pseudonym(of: "anna") != other.pseudonym(of: "anna"))
  }

  @Test func `verifies what it signed, and nothing else`() {
    let signed = secret.sign("session-1")
    #expect(secret.verify(signed) == "session-1")
    for position in signed.indices {
      var forged = signed
      forged.replaceSubrange(position...position, with: signed[position] == "x" ? "y" : "x")
      #expect(secret.verify(forged) == nil)
    }
    #expect(secret.verify("session-1") == nil)
    #expect(secret.verify("session-1.") == nil)
    #expect(secret.verify("") == nil)
    #expect(secret.verify(signed + "x") == nil)
    #expect(CookieSecret(bytes: Array(1..<33)).verify(signed) == nil)
  }

  @Test func `random ones differ`() { #expect(CookieSecret.randomBytes() != CookieSecret.randomBytes()) }
}

@Suite struct Base64URLTests {
  // RFC 4648, 10, without padding.
  @Test(arguments: [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("foobar", "Zm9vYmFy")])
  func `as the RFC has it`(plain: String, encoded: String) { #expect(Base64URL.encode(plain.utf8) == encoded) }

  @Test func `the letters that URLs can't have are replaced`() {
    #expect(Base64URL.encode([0xFB, 0xFF, 0xBF]) == "-_-_")
  }

  @Test func `random names differ and are told from others`() {
    let names = (0..<1000).map { _ in RandomID.make() }
    #expect(Set(names).count == 1000 && names.allSatisfy { !$0.hasPrefix("-") })
    #expect(RandomID.isOne(RandomID.make()))
    for other in ["", "7", "../etc/passwd", RandomID.make() + "x", String(repeating: "é", count: 11)] {
      #expect(!RandomID.isOne(other))
    }
  }
}
