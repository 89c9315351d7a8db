import Glibc

/// A blob being received: written as it comes, and kept only if its content is what its name says.
struct BlobUpload {
  enum Outcome {
    case created
    case mismatch(actual: String)
    case failed(SimulatorError)
  }

  let digest: String
  private let path: String
  private let partial: String
  private let descriptor: Int32
  private var hash = SHA256()
  private var failure: SimulatorError?

  /// - Parameters:
  ///   - digest: "sha256:…" in lower case.
  ///   - number: tells uploads of one process apart.
  init(digest: String, path: String, number: Int) throws(SimulatorError) {
    self.digest = digest
    self.path = path
    partial = "\(path).\(getpid()).\(number).partial"
    descriptor = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw SimulatorError(call: "open \(partial)", errno: errno) }
  }

  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard failure == nil else { return }
    hash.update(bytes)
    var written = 0
    while written < bytes.count {
      guard let base = bytes.baseAddress else { return }
      let count = write(descriptor, base + written, bytes.count - written)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        failure = SimulatorError(call: "write \(partial)", errno: errno)
        return
      }
      written += count
    }
  }

  mutating func finish() -> Outcome {
    let actual = "sha256:" + hash.hex()
    guard failure == nil, actual == digest else {
      cancel()
      return failure.map { .failed($0) } ?? .mismatch(actual: actual)
    }
    close(descriptor)
    guard rename(partial, path) == 0 else { return .failed(SimulatorError(call: "rename \(partial)", errno: errno)) }
    return .created
  }

  func cancel() {
    close(descriptor)
    unlink(partial)
  }
}
