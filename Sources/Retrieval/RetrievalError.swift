import GRDB

/// Why documents could not be read, kept or searched.
package struct RetrievalError: Error, Equatable, Sendable, CustomStringConvertible {
  package enum Code: Hashable, Sendable {
    /// There is no index.
    case missing
    /// The index is no database, a damaged one, or another program's.
    case damaged
    /// It was written by a version of this program that keeps it otherwise.
    case otherVersion
    /// Another process writes it.
    case inUse
    /// It holds as much as an index may.
    case full
    /// It took longer than it may.
    case late
    /// As much is being searched for as may be at the same time.
    case overloaded
    /// A document can't be read as text.
    case unreadable
    /// An answer of the embedding model's is none.
    case badEmbedding
    /// Anything else that the database or the disk answers.
    case failed
  }

  package let code: Code
  /// What failed, and what helps, in words for the operator.
  package let message: String

  package var description: String { message }

  package init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// What went wrong with a file, in the words of who wanted something of it.
  init(_ error: any Error, file: String) {
    if let error = error as? RetrievalError {
      self = error
      return
    }
    guard let error = error as? DatabaseError else {
      self.init(.failed, "\(file) can't be used: \(error)")
      return
    }
    let cause = "SQLite \(error.extendedResultCode.rawValue): \(error.message ?? "no message")"
    switch error.resultCode.primaryResultCode {
    case .SQLITE_INTERRUPT: self.init(.late, "searching \(file) took too long")
    case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH, .SQLITE_READONLY:
      self.init(.failed, "\(file) can't be opened: see who may read and write it and its folder (\(cause))")
    case .SQLITE_BUSY, .SQLITE_LOCKED:
      self.init(.inUse, "\(file) is being written by another `ollama-pool index`: wait until that has ended")
    case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT, .SQLITE_MISMATCH:
      self.init(.damaged, "\(file) is no index, or a damaged one: move it away, and run `ollama-pool index` (\(cause))")
    case .SQLITE_FULL: self.init(.failed, "\(file) can't grow, since the disk is full: make room")
    default: self.init(.failed, "\(file) can't be used (\(cause))")
    }
  }
}
