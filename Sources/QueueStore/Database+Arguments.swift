import FoundationEssentials
import GRDB

/// A value that may be an argument of a statement.
protocol StoredValue {
  var stored: any DatabaseValueConvertible { get }
}

/// As its bytes in UTF-8: GRDB and SQLite's functions take a NUL for the end of a text, and two users whose names
/// differ after it would be one.
extension String: StoredValue {
  var stored: any DatabaseValueConvertible { Data(utf8) }
}

extension [UInt8]: StoredValue {
  var stored: any DatabaseValueConvertible { Data(self) }
}

extension Int: StoredValue {
  var stored: any DatabaseValueConvertible { self }
}

extension Int64: StoredValue {
  var stored: any DatabaseValueConvertible { self }
}

extension Bool: StoredValue {
  var stored: any DatabaseValueConvertible { self }
}

extension WallTime: StoredValue {
  var stored: any DatabaseValueConvertible { milliseconds }
}

/// One of a few words of the program's own: readable in the database.
protocol StoredWord: StoredValue, RawRepresentable<String> {}

extension StoredWord {
  var stored: any DatabaseValueConvertible { rawValue }
}

/// Statements are written down in the sources, and all that comes from outside is an argument: a `StaticString` can't
/// be put together from anything.
extension Database {
  /// Executes one statement.
  /// - Returns: how many rows it changed.
  @discardableResult
  func change(_ statement: StaticString, _ arguments: (any StoredValue)?...) throws -> Int {
    let statement = try cachedStatement(sql: statement.description)
    try statement.execute(arguments: Self.arguments(arguments))
    return changesCount
  }

  /// All rows of a query, in its order, until `read` returns nil.
  func rows<Value>(
    _ query: StaticString, _ arguments: (any StoredValue)?..., read: (inout StoredRow) throws -> Value?
  ) throws -> [Value] {
    let statement = try cachedStatement(sql: query.description)
    let cursor = try Row.fetchCursor(statement, arguments: Self.arguments(arguments))
    var values: [Value] = []
    while let row = try cursor.next() {
      var row = StoredRow(row)
      guard let value = try read(&row) else { break }
      values.append(value)
    }
    return values
  }

  private static func arguments(_ values: [(any StoredValue)?]) -> StatementArguments {
    let stored: [(any DatabaseValueConvertible)?] = values.map { $0?.stored }
    return StatementArguments(stored)
  }
}

/// A row whose columns are read one after the other. What isn't of the expected type is damage, and no reason to end
/// the program, as GRDB's own conversions do.
struct StoredRow {
  private let row: Row
  private var column = 0

  init(_ row: Row) { self.row = row }

  mutating func integer() throws -> Int64 { try some(optionalInteger()) }
  mutating func int() throws -> Int { try some(optionalInt()) }
  mutating func bool() throws -> Bool { try integer() != 0 }
  mutating func time() throws -> WallTime { WallTime(milliseconds: try integer()) }
  mutating func text() throws -> String { try some(optionalText()) }
  mutating func bytes() throws -> [UInt8] { Array(try some(optionalData())) }

  mutating func word<Word: StoredWord>() throws -> Word {
    guard case .string(let text) = next(), let word = Word(rawValue: text) else { throw Self.damage }
    return word
  }

  mutating func optionalInteger() throws -> Int64? {
    switch next() {
    case .null: nil
    case .int64(let integer): integer
    default: throw Self.damage
    }
  }

  mutating func optionalInt() throws -> Int? { try optionalInteger().map { Int($0) } }
  mutating func optionalTime() throws -> WallTime? { try optionalInteger().map(WallTime.init(milliseconds:)) }
  mutating func optionalText() throws -> String? { try optionalData().map { String(decoding: $0, as: UTF8.self) } }

  private mutating func optionalData() throws -> Data? {
    switch next() {
    case .null: nil
    case .blob(let data): data
    default: throw Self.damage
    }
  }

  private mutating func next() -> DatabaseValue.Storage {
    defer { column += 1 }
    return (row[column] as DatabaseValue).storage
  }

  private func some<Value>(_ value: Value?) throws -> Value {
    guard let value else { throw Self.damage }
    return value
  }

  private static let damage = DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a column of an unexpected type")
}
