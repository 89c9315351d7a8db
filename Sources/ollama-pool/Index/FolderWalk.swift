import Glibc
import Retrieval

/// The documents below some folders. Links are not followed, wherever they lead; what begins with a dot is left out.
struct FolderWalk {
  struct File: Equatable {
    var path: DocumentPath
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
  init(_ folders: [DocumentPath]) {
    for folder in folders { walk(folder, depth: 0) }
    files.sort { $0.path < $1.path }
    // A folder may have been named twice, or lie within another.
    files = files.indices.filter { $0 == 0 || files[$0].path != files[$0 - 1].path }.map { files[$0] }
  }

  private mutating func walk(_ folder: DocumentPath, depth: Int) {
    guard depth <= Self.deepest else {
      problems.append(IndexProblem(path: folder.text, reason: "lies more than \(Self.deepest) folders deep"))
      return
    }
    guard let stream = opendir(folder.cString) else {
      problems.append(IndexProblem(path: folder.text, reason: String(cString: strerror(errno))))
      return
    }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in Array(bytes.prefix { $0 != 0 }) }
      guard name.first != UInt8(ascii: ".") else { continue }
      let path = folder.appending(name)
      switch Self.type(of: entry.pointee, path) {
      case DT_DIR: walk(path, depth: depth + 1)
      case DT_LNK: links += 1
      case DT_REG:
        if let kind = DocumentText.Kind(fileName: name) {
          files.append(File(path: path, kind: kind))
        } else {
          others += 1
        }
      default: others += 1
      }
    }
  }

  private static func type(of entry: dirent, _ path: DocumentPath) -> Int {
    guard entry.d_type == DT_UNKNOWN else { return Int(entry.d_type) }
    // readdir(3): not every file system tells.
    var status = stat()
    return lstat(path.cString, &status) == 0 ? Int(status.st_mode & S_IFMT) >> 12 : DT_UNKNOWN
  }
}

/// Why a document is not in the index as it should be.
struct IndexProblem: Equatable {
  var path: String
  var reason: String
}
