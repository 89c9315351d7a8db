import Crypto

/// A secret by which a program or a person comes in. Only its hash is kept anywhere.
package struct APIKey: Sendable {
  /// What begins every key, so that people and scanners for leaked secrets tell it.
  package static let prefix = "sk-pool-"
  private static let randomBytes = 32
  /// Nothing longer is a key, in bytes.
  private static let longest = 256

  /// To be shown once, to whoever asked for it.
  package let text: String

  /// A new one.
  package init() {
    var generator = SystemRandomNumberGenerator()
    let bytes = (0..<Self.randomBytes).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    text = Self.prefix + Base64URL.encode(bytes)
  }

  /// What a client sent, whether it is a key or not; nil for what can't be one.
  package init?(text: String) {
    guard text.hasPrefix(Self.prefix), text.utf8.count <= Self.longest else { return nil }
    self.text = text
  }

  /// SHA-256. A key has 256 random bits, so that nobody gets it back from there, and no slow hash is needed.
  package var hash: [UInt8] { Array(SHA256.hash(data: Array(text.utf8))) }
}
