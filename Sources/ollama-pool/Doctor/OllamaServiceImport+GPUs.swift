extension OllamaServiceImport {
  /// One list of those that the variables of both vendors name.
  static func gpus(_ variables: [(name: String, value: String)]) -> [String] {
    var comments: [String] = []
    var entries: [String] = []
    for (name, value) in variables {
      guard let isAMD = ["CUDA_VISIBLE_DEVICES": false, "ROCR_VISIBLE_DEVICES": true][name] else { continue }
      let uuids = value.split(separator: ",")
      // CUDA takes the beginning of a UUID, too, and numbers, and words for none.
      if !uuids.isEmpty, uuids.allSatisfy({ isAMD ? isAMDsUUID($0) : isNVIDIAsUUID($0) }) {
        entries += uuids.map { "  - {uuid: \(quoted(String($0)))\(isAMD ? ", vendor: amd" : "")}" }
      } else {
        comments.append(
          "# \(name)=\(printable(value)) is not taken: the pool uses all GPUs, or those that gpus names by their "
            + "whole UUIDs")
      }
    }
    return comments + (entries.isEmpty ? [] : ["gpus:"] + entries)
  }

  /// As `nvidia-smi -L` prints them.
  private static func isNVIDIAsUUID(_ text: Substring) -> Bool {
    text.wholeMatch(of: /(GPU|MIG)-[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}/) != nil
  }

  private static func isAMDsUUID(_ text: Substring) -> Bool { text.wholeMatch(of: /GPU-[0-9a-fA-F]{16}/) != nil }
}
