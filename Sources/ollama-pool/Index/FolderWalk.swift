import FoundationEssentials
import Glibc
import Retrieval

/// The documents below some folders. Links are not followed, wherever they lead; what begins with a dot is left out.
struct FolderWalk {
  struct File: Equatable {
    var path: String
    var kind: DocumentText.Kind
  }

  /// How many folders may lie within one another.
  private static let deepest = 64

  private(set) var files: [File] = []
  private(set) var problems: [IndexProblem] = []
  /// How many were left alone.
  private(set) var links = 0
  private(set) var others = 0

  /// - Parameter folders: absolute paths without links.
  init(_ folders: [String]) {
    for folder in folders { walk(folder, depth: 0) }
    files.sort { $0.path < $1.path }
    // A folder may have been named twice, or lie within another.
    files = files.indices.filter { $0 == 0 || files[$0].path != files[$0 - 1].path }.map { files[$0] }
  }

  private mutating func walk(_ folder: String, depth: Int) {
    guard depth <= Self.deepest else {
      problems.append(IndexProblem(path: folder, reason: "lies more than \(Self.deepest) folders deep"))
      return
    }
    guard let stream = opendir(folder) else {
      problems.append(IndexProblem(path: folder, reason: String(cString: strerror(errno))))
      return
    }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard !name.hasPrefix(".") else { continue }
      let path = folder == "/" ? "/\(name)" : "\(folder)/\(name)"
      var status = stat()
      guard lstat(path, &status) == 0 else {
        problems.append(IndexProblem(path: path, reason: String(cString: strerror(errno))))
        continue
      }
      switch status.st_mode & S_IFMT {
      case S_IFDIR: walk(path, depth: depth + 1)
      case S_IFLNK: links += 1
      case S_IFREG:
        if let kind = DocumentText.Kind(fileName: name) {
          files.append(File(path: path, kind: kind))
        } else {
          others += 1
        }
      default: others += 1
      }
    }
  }
}

/// Why a document is not in the index as it should be.
struct IndexProblem: Equatable {
  var path: String
  var reason: String
}
