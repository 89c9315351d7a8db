/// An error of the pool's own, to be told to a client in its dialect.
package struct PoolError: Error, Hashable, Sendable {
  /// The HTTP status, 400 to 599. Where the answer has begun already it only chooses the error's type.
  package var status: Int
  /// A word for programs, such as `queue_full`.
  package var code: String
  /// For people: what happened, and what to do about it.
  package var message: String
  /// Goes into the header `Retry-After`.
  package var retryAfterSeconds: Int?

  package init(status: Int, code: String, message: String, retryAfterSeconds: Int? = nil) {
    self.status = status
    self.code = code
    self.message = message
    self.retryAfterSeconds = retryAfterSeconds
  }
}
