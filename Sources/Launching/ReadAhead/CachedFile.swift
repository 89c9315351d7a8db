import CLinux
import Glibc

/// An open file, and which of it is in the page cache.
struct CachedFile: ~Copyable {
  /// Asked about and read at once: the larger, the less there is to ask, and the more is read that was there.
  static let pieceSize = 4 << 20
  private static let pageSize = 4096
  /// Pieces that the kernel is told of before they are read, so that the disk always has something to do.
  private static let told = 4

  let size: Int
  private let descriptor: Int32

  /// - Returns: nil where it can't be read; errno says why.
  init?(_ path: String) {
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    var information = stat()
    guard descriptor >= 0, fstat(descriptor, &information) == 0 else {
      size = 0
      return nil
    }
    size = Int(information.st_size)
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Numbers of the pieces that are not in memory, each by one of its pages; also where the file system can't tell.
  ///
  /// To be asked once: where the page is missing, Linux (since 5.9) has it read for having been asked for it, though no
  /// others beside it. So that a later process asks for others, it is a page by chance.
  func missingPieces() -> [Int] {
    _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM)
    defer { _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_NORMAL) }
    let count = (size + Self.pieceSize - 1) / Self.pieceSize
    return (0..<count).filter { piece in
      let range = bytes(of: piece)
      let page = Int.random(in: 0...(range.count - 1) / Self.pageSize)
      return clinux_is_in_page_cache(descriptor, UInt(range.lowerBound + page * Self.pageSize)) != 1
    }
  }

  func bytes(of piece: Int) -> Range<Int> {
    let start = piece * Self.pieceSize
    return start..<min(start + Self.pieceSize, size)
  }

  /// Has a piece read into memory.
  /// - Returns: its bytes; nil where they can't be read, for which errno says why.
  func read(_ piece: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
    let range = bytes(of: piece)
    let ahead = min(range.lowerBound + Self.told * Self.pieceSize, size) - range.lowerBound
    _ = posix_fadvise(descriptor, range.lowerBound, ahead, POSIX_FADV_WILLNEED)
    var offset = range.lowerBound
    while offset < range.upperBound {
      let count = pread(descriptor, buffer.baseAddress, min(buffer.count, range.upperBound - offset), offset)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { return nil }
      // It has become shorter meanwhile.
      if count == 0 { break }
      offset += count
    }
    return offset - range.lowerBound
  }
}
