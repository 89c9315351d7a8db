import Crypto

/// Signs what browsers keep for the pool, so that nobody makes it up.
package struct CookieSecret: Sendable {
  package static let byteCount = 32
  private static let separator: Character = "."

  private let key: SymmetricKey

  /// - Precondition: there are ``byteCount`` bytes.
  package init(bytes: [UInt8]) {
    precondition(bytes.count == Self.byteCount)
    key = SymmetricKey(data: bytes)
  }

  package static func randomBytes() -> [UInt8] {
    var generator = SystemRandomNumberGenerator()
    return (0..<byteCount).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
  }

  /// - Parameter value: without a full stop.
  package func sign(_ value: String) -> String {
    value + String(Self.separator) + Base64URL.encode(Array(code(of: value)))
  }

  /// The value that was signed with this secret; nil where it wasn't.
  package func verify(_ signed: String) -> String? {
    guard let end = signed.lastIndex(of: Self.separator) else { return nil }
    let value = String(signed[..<end])
    // Compared in constant time: how far a guess is right must not show.
    let (given, right) = (Array(signed.utf8), Array(sign(value).utf8))
    guard given.count == right.count else { return nil }
    return zip(given, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0 ? value : nil
  }

  /// The same number for the same user as long as this secret is, and no way back from it.
  package func pseudonym(of user: String) -> Int64 {
    let code = HMAC<SHA256>.authenticationCode(for: Array("user:\(user)".utf8), using: key)
    return code.prefix(8).reduce(0) { $0 << 8 | Int64($1) }
  }

  private func code(of value: String) -> HMAC<SHA256>.MAC {
    HMAC<SHA256>.authenticationCode(for: Array("session:\(value)".utf8), using: key)
  }
}
