import FoundationEssentials
package import GPUInventory

extension GPUNumbering {
  /// The numbers that a supervisor with this state folder gives; none where that can't be read.
  package static func stored(in folder: String) -> GPUNumbering {
    let file = URL(filePath: "\(folder)/\(StateDirectory.File.numbers.rawValue)")
    let numbering = (try? Data(contentsOf: file)).flatMap { try? JSONDecoder().decode(GPUNumbering.self, from: $0) }
    return numbering ?? GPUNumbering()
  }
}
