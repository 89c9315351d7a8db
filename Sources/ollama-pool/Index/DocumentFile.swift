import Glibc
import Retrieval

/// A document's file that is open. What its path leads to later doesn't matter.
struct DocumentFile: ~Copyable {
  /// A larger one is not read, in bytes.
  private static let mostText = 16 << 20
  private static let mostPDF = 256 << 20

  let mark: FileMark
  private let descriptor: CInt
  private let kind: DocumentText.Kind
  private let name: [UInt8]

  init(_ path: DocumentPath, _ kind: DocumentText.Kind) throws(RetrievalError) {
    descriptor = open(path.cString, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw RetrievalError(.unreadable, String(cString: strerror(errno))) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw RetrievalError(.unreadable, "is no file any more")
    }
    let most = kind == .pdf ? Self.mostPDF : Self.mostText
    guard status.st_size <= most else {
      close(descriptor)
      throw RetrievalError(
        .unreadable, "has \(status.st_size >> 20) MiB, and at most \(most >> 20) MiB are read of such a file")
    }
    self.kind = kind
    name = path.name
    mark = FileMark(
      bytes: status.st_size,
      modifiedNanoseconds: Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec))
  }

  deinit { close(descriptor) }

  func content() throws(RetrievalError) -> [UInt8] {
    // It may grow while it is read.
    var content: [UInt8] = []
    content.reserveCapacity(mark.bytes)
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while content.count <= mark.bytes {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0, errno != EINTR { throw RetrievalError(.unreadable, String(cString: strerror(errno))) }
      if count == 0 { break }
      if count > 0 { content += buffer.prefix(count) }
    }
    return content
  }

  func text(_ content: [UInt8]) throws(RetrievalError) -> DocumentText {
    guard kind == .pdf else { return try DocumentText(content, kind, fileName: name) }
    // Readers look for the mark in the first 1024 bytes: ISO 32000-1, H.3.
    guard String(decoding: content.prefix(1_024), as: UTF8.self).contains("%PDF-") else {
      throw RetrievalError(.unreadable, "is no PDF")
    }
    lseek(descriptor, 0, SEEK_SET)
    return try DocumentText(try PDFText.read(descriptor), kind, fileName: name)
  }
}
