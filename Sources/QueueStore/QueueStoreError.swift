import GRDB

/// Why something could not be stored or read. Neither messages nor causes ever hold what was to be stored.
package struct QueueStoreError: Error, Equatable, Sendable, CustomStringConvertible {
  package enum Code: Hashable, Sendable {
    /// The file or its folder can't be opened, or not be written to.
    case unusable
    /// Another process has the file open.
    case inUse
    /// The file is no database, or a damaged one.
    case damaged
    /// The file is a database of another program's.
    case foreign
    /// The file was written by a newer version of this program.
    case newer
    /// There is no room on the disk.
    case full
    /// What was to be added is there already.
    case conflict
    /// What was to be changed is not there.
    case missing
    /// Too much waits to be written: see ``QueueStoreLimits/pending``.
    case overloaded
    /// `close()` was called before.
    case closed
    /// Anything else that the database or the disk answers.
    case failed
  }

  package let code: Code
  /// What failed, and what helps, in words for the operator.
  package let message: String
  /// The database's own words, or the system's, where it was they who refused.
  package let cause: String?

  package var description: String { cause.map { "\(message) (\($0))" } ?? message }

  init(_ code: Code, _ message: String, cause: String? = nil) {
    self.code = code
    self.message = message
    self.cause = cause
  }

  /// What a store's future failed with.
  package init(of error: any Error) {
    self = error as? QueueStoreError ?? QueueStoreError(.failed, "\(type(of: error))")
  }

  /// What went wrong with a file, in the words of who wanted something of it.
  init(_ error: any Error, _ operation: StaticString, file: String) {
    if let error = error as? QueueStoreError {
      self = error
      return
    }
    guard let error = error as? DatabaseError else {
      self.init(.failed, "\(operation): \(file) can't be used", cause: "\(type(of: error))")
      return
    }
    let code = Code(error.resultCode)
    let remedy = code.remedy.map { ": \($0)" } ?? ""
    // The statement and its arguments stay out of it: SQLite's message names tables and columns alone.
    let cause = "SQLite \(error.extendedResultCode.rawValue): \(error.message ?? "no message")"
    self.init(code, "\(operation): \(file) \(code.trouble)\(remedy)", cause: cause)
  }
}

extension QueueStoreError.Code {
  init(_ code: ResultCode) {
    switch code.primaryResultCode {
    case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH: self = .unusable
    case .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_PROTOCOL: self = .inUse
    case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT: self = .damaged
    case .SQLITE_FULL: self = .full
    case .SQLITE_CONSTRAINT: self = .conflict
    default: self = .failed
    }
  }

  fileprivate var trouble: String {
    switch self {
    case .unusable: "can't be opened for writing"
    case .inUse: "is in use by another process"
    case .damaged: "is no database, or a damaged one"
    case .full: "can't grow, since the disk is full"
    case .conflict: "has that already, or may not have it"
    default: "can't be used"
    }
  }

  fileprivate var remedy: String? {
    switch self {
    case .unusable: "its folder must exist, and both must belong to the user that runs this"
    case .inUse: "stop that one, or give this one a folder of its own"
    case .damaged: Self.moveAway
    case .full: "make room"
    case .failed: "see whether its disk is in order"
    default: nil
    }
  }

  /// What always helps with a file that can't be read: it is never replaced without being asked.
  static let moveAway = "put a copy of it back, or move it away to begin with an empty one"
}
