/// About how many tokens a question has, without its model: for the fairness between users and their limits, which
/// need the order of magnitude.
///
/// Four bytes of text are one token, as English has it; for other languages it is too few by half at most. A picture is
/// base64 in the body, a thousand times as long as what a model makes of it: from a few hundred to two thousand tokens,
/// whatever its size, since models scale pictures. What is no JSON, such as sound, counts as a picture at most.
package enum QuestionTokens {
  /// What one picture counts as.
  static let ofPicture = 1000
  /// In bytes; a run of these without a break is no text of a language that has spaces, or quotes, or its own letters.
  static let shortestPicture = 2048

  /// - Parameter isJSON: whether the body could be read as JSON.
  package static func count(_ body: UnsafeRawBufferPointer, isJSON: Bool) -> Int {
    guard isJSON else { return min(body.count / 4, ofPicture) }
    guard body.count >= shortestPicture else { return body.count / 4 }
    var (text, pictures, run) = (0, 0, 0)
    func end() {
      if run >= shortestPicture { pictures += 1 } else { text += run }
      run = 0
    }
    for byte in body {
      if isBase64(byte) {
        run += 1
      } else {
        end()
        text += 1
      }
    }
    end()
    return text / 4 + pictures * ofPicture
  }

  package static func count(_ body: some Sequence<UInt8>, isJSON: Bool) -> Int {
    Array(body).withUnsafeBytes { count($0, isJSON: isJSON) }
  }

  /// In either alphabet; some escape the slash.
  private static func isBase64(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "-"),
      UInt8(ascii: "_"), UInt8(ascii: "="), UInt8(ascii: "\\"):
      true
    default: false
    }
  }
}
