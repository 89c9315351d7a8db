import Launching
import Retrieval

/// The text of a PDF, as poppler's `pdftotext` reads it: in a process of its own, which a damaged or hostile file can
/// crash, and which gets neither much time nor much memory.
enum PDFText {
  private static let time = Duration.seconds(120)
  private static let mostBytes = 16 << 20
  /// Set by the shell, so that they hold before the program begins: 1 GiB of memory, 60 s of processor, no core dump.
  private static let limits = "ulimit -v 1048576; ulimit -t 60; ulimit -c 0"
  private static let missing: Int32 = 127

  /// - Parameter file: a descriptor of the PDF.
  static func read(_ file: Int32) throws(RetrievalError) -> [UInt8] {
    let text = try run(file, readsErrors: false)
    if text.status == 0 { return text.bytes }
    guard text.isComplete else {
      throw RetrievalError(
        .unreadable,
        text.bytes.count >= mostBytes
          ? "has more than \(mostBytes >> 20) MiB of text" : "takes pdftotext more than \(time.components.seconds) s")
    }
    if text.status == missing {
      throw RetrievalError(.unreadable, "needs pdftotext: install poppler-utils (apt-get install poppler-utils)")
    }
    let words = String(decoding: try run(file, readsErrors: true).bytes, as: UTF8.self)
    if words.contains("Incorrect password") {
      throw RetrievalError(.unreadable, "is encrypted: store it without a password")
    }
    let reason = words.split(separator: "\n").first.map { ": \($0)" } ?? ""
    throw RetrievalError(.unreadable, "is a damaged PDF, as pdftotext finds\(reason)")
  }

  /// What it writes, or what it complains of.
  private static func run(_ file: Int32, readsErrors: Bool) throws(RetrievalError) -> Execution.Result {
    // Opened anew, it is read from its beginning, and can be read in any order.
    let command = "\(limits); exec pdftotext -q -enc UTF-8 -eol unix /dev/stdin -"
    let loudCommand = "\(limits); exec pdftotext -enc UTF-8 /dev/stdin -"
    guard
      let result = Execution.run(
        ["sh", "-c", readsErrors ? loudCommand : command], input: file,
        reading: readsErrors ? .errors : .output, most: readsErrors ? 1 << 16 : mostBytes, within: time)
    else { throw RetrievalError(.unreadable, "can't be read: no process can be started for pdftotext") }
    return result
  }
}
