/// The file `nvml.state` of a folder of simulated GPUs, which `Sources/SimulatedNVML` reads, too, and explains. It is
/// changed by lines, so that what people wrote there stays.
struct NVMLState: Sendable {
  /// A GPU, or a slice of one.
  struct Device: Sendable {
    struct Slice: Sendable, Equatable {
      let index: Int
      let gpuInstance: Int
      let computeInstance: Int
    }

    let uuid: String
    /// As the file counts them, which is what its lines say of one.
    let gpu: Int
    let slice: Slice?
    /// Bytes.
    let total: Int
    /// Bytes in use that no program holds.
    let used: Int

    /// How people call it: gpu1, gpu1.7.
    var label: String { "gpu\(gpu)" + (slice.map { ".\($0.gpuInstance)" } ?? "") }
  }

  static let name = "nvml.state"

  private(set) var lines: [StateLine]

  init(text: String) {
    lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { StateLine(String($0)) }
    if lines.last?.text.isEmpty == true { lines.removeLast() }
  }

  static func path(in folder: String) -> String { folder + "/" + name }

  static func read(in folder: String) throws(SimulatorError) -> NVMLState {
    guard let content = SmallFile.read(path(in: folder), limit: 1 << 20) else {
      throw SimulatorError(
        "there are no simulated GPUs in \(folder): `ollama-simulator gpus make \(folder)` makes some")
    }
    return NVMLState(text: String(decoding: content, as: UTF8.self))
  }

  func write(in folder: String) throws(SimulatorError) {
    try SmallFile.write(Array(lines.map { $0.text + "\n" }.joined().utf8), to: Self.path(in: folder))
  }

  // MARK: What there is

  var devices: [Device] {
    let gpus = lines.filter { $0.keyword == "gpu" }.enumerated().map { index, line in
      Device(
        uuid: line["uuid"] ?? "", gpu: index, slice: nil, total: line.bytes("total") ?? 24 << 30,
        used: line.bytes("used") ?? 0)
    }
    let slices = lines.filter { $0.keyword == "mig" }.map { line in
      Device(
        uuid: line["uuid"] ?? "", gpu: line.number("gpu") ?? 0,
        slice: Device.Slice(
          index: line.number("index") ?? 0, gpuInstance: line.number("gi") ?? 1,
          computeInstance: line.number("ci") ?? 0),
        total: line.bytes("total") ?? 10 << 30, used: line.bytes("used") ?? 0)
    }
    return gpus + slices
  }

  func device(_ name: String) throws(SimulatorError) -> Device {
    if let device = devices.first(where: { $0.label == name || $0.uuid == name }) { return device }
    let labels = devices.map(\.label).joined(separator: ", ")
    throw SimulatorError("there is no simulated GPU \(name); there are: \(labels.isEmpty ? "none" : labels)")
  }

  /// Whether nothing can be computed on it: it is gone, lost, or wants a reset.
  func isLost(_ uuid: String) -> Bool {
    guard let device = devices.first(where: { $0.uuid == uuid }) else { return true }
    return lines.contains { line in
      guard line.concerns(device) else { return false }
      switch line.keyword {
      case "missing": return true
      case "fail": return line.words[1...].starts(with: ["any", "15"]) || line.words[1...].starts(with: ["any", "16"])
      default: return false
      }
    }
  }

  // MARK: Faults

  mutating func add(_ line: String) {
    let line = StateLine(line)
    // It counts where the number becomes another one, so there is one alone.
    if line.keyword == "reload" { lines.removeAll { $0.keyword == "reload" } }
    lines.append(line)
  }

  /// Takes away what is wrong: with one GPU and its slices, or with one slice; nil: with anything.
  mutating func clear(_ device: Device?) {
    lines.removeAll { line in
      guard line.isFault else { return false }
      guard let device else { return true }
      let isOfASlice = line.number("mig") != nil || line.number("gi") != nil
      return line.number("gpu") == device.gpu && (device.slice == nil || isOfASlice && line.concerns(device))
    }
  }
}

/// One line of it.
struct StateLine: Sendable {
  let text: String
  var words: [String] { text.split(separator: " ").map(String.init) }
  /// Empty where there is none.
  let keyword: String

  init(_ text: String) {
    self.text = text
    keyword = text.split(separator: " ").first.map(String.init) ?? ""
  }

  var isFault: Bool { ["fail", "missing", "hang", "lingers", "xid", "ecc"].contains(keyword) }

  subscript(key: String) -> String? {
    words.first { $0.hasPrefix(key + "=") }.map { String($0.dropFirst(key.utf8.count + 1)) }
  }

  func number(_ key: String) -> Int? { self[key].flatMap { Int($0) } }
  func bytes(_ key: String) -> Int? { self[key].flatMap { ByteAmount($0)?.bytes } }

  /// Whether it is about this GPU or slice, or about all.
  func concerns(_ device: NVMLState.Device) -> Bool {
    if let gpu = number("gpu"), gpu != device.gpu { return false }
    if let slice = number("mig") { return slice == device.slice?.index ?? -1 }
    if let instance = number("gi") { return instance == device.slice?.gpuInstance }
    return true
  }
}
