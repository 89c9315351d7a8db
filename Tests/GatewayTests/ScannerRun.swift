@testable import Gateway

/// What the scanner makes of an answer that comes in pieces, presented to it as a connection would.
struct ScannerRun: Equatable {
  var status: Int?
  var framing: ResponseHead.Framing?
  var keepsAlive: Bool?
  var content: [UInt8] = []
  /// Bytes of the body that may be passed on.
  var passed: [UInt8] = []
  /// The part of `passed` from the last chunk on; nil without one.
  var terminator: [UInt8]?
  var isComplete = false
  var endsWithConnection = false
  var leftover: [UInt8] = []
  var error: ResponseError?
  var debt = ResponseScanner.Debt.none

  init(_ pieces: [[UInt8]], isHead: Bool = false) {
    var scanner = ResponseScanner(isHead: isHead)
    var unread: [UInt8] = []
    for piece in pieces {
      unread += piece
      guard error == nil else { continue }
      if status == nil, !readHead(&scanner, &unread) { continue }
      readBody(&scanner, &unread)
    }
    isComplete = scanner.isComplete
    endsWithConnection = scanner.endsWithConnection
    debt = scanner.debt
    // After an error nothing that came later matters.
    leftover = error == nil ? unread : []
  }

  init(_ text: String, isHead: Bool = false) { self.init([Array(text.utf8)], isHead: isHead) }

  private mutating func readHead(_ scanner: inout ResponseScanner, _ unread: inout [UInt8]) -> Bool {
    switch unread.withUnsafeBytes({ scanner.readHead($0) }) {
    case .incomplete(let consumed):
      unread.removeFirst(consumed)
      return false
    case .invalid(let error):
      self.error = error
      return false
    case .head(let head):
      (status, framing, keepsAlive) = (head.status, head.framing, head.keepsAlive)
      unread.removeFirst(head.end)
      return true
    }
  }

  private mutating func readBody(_ scanner: inout ResponseScanner, _ unread: inout [UInt8]) {
    var pieces: [UInt8] = []
    let step = unread.withUnsafeBytes { raw in scanner.readBody(raw) { pieces += $0 } }
    content += pieces
    passed += unread.prefix(step.consumed)
    if let terminator = step.terminator { self.terminator = Array(unread[terminator..<step.consumed]) }
    unread.removeFirst(step.consumed)
    error = step.error
  }

  var text: String { String(decoding: content, as: UTF8.self) }
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct SeededNumbers: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
