import FoundationEssentials
import Glibc

/// What a command says. Each call is written at once, so that lines also arrive one by one in a pipe or a file.
enum Output {
  /// To standard output. If nobody reads any more the process ends quietly, as a pipeline's first part should.
  static func say(_ text: String) {
    write(text + "\n", to: STDOUT_FILENO) { exit(0) }
  }

  /// To standard error.
  static func complain(_ text: String) {
    write(text + "\n", to: STDERR_FILENO) {}
  }

  /// - Parameter isCompact: on one line.
  static func say(json value: some Encodable, isCompact: Bool = false) throws(CommandFailure) {
    let encoder = JSONEncoder()
    encoder.outputFormatting =
      isCompact ? [.sortedKeys, .withoutEscapingSlashes] : [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
    do {
      say(String(decoding: try encoder.encode(value), as: UTF8.self))
    } catch {
      throw CommandFailure("this can't be said in JSON (\(error)): try it without --json")
    }
  }

  private static func write(_ text: String, to descriptor: Int32, onFailure: () -> Void) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno == EAGAIN {
        var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&wait, 1, -1)
      } else if errno != EINTR {
        return onFailure()
      }
    }
  }
}

/// Encodes nil as null: programs that read the JSON find every key.
@propertyWrapper
struct OrNull<Value: Encodable & Equatable & Sendable>: Encodable, Equatable, Sendable {
  var wrappedValue: Value?

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}
