import FoundationEssentials

/// How long questions and answers are, in tokens.
package struct TokenLengths: Hashable, Sendable {
  package var input: LengthDistribution
  package var output: LengthDistribution

  private struct File: Decodable {
    let input: [[Double]]
    let output: [[Double]]
  }

  /// Reads ServeGen's: `{"input": [[tokens, probability], …], "output": …}`.
  ///
  /// - Parameter file: its name, for errors.
  package static func read(_ json: some Collection<UInt8>, file: String) throws(TraceError) -> TokenLengths {
    let read: File
    do {
      read = try JSONDecoder().decode(File.self, from: Data(json))
    } catch DecodingError.keyNotFound(let key, _) {
      throw TraceError(file, "has no \(key.stringValue): {\"input\": [[tokens, probability], …], \"output\": …}")
    } catch {
      throw TraceError(file, "is not JSON like {\"input\": [[tokens, probability], …], \"output\": …}")
    }
    return TokenLengths(
      input: try LengthDistribution(read.input, "input", file),
      output: try LengthDistribution(read.output, "output", file))
  }

  /// All lengths times `factor`, and no answer and no question longer than `most`.
  package func scaled(by factor: Double, atMost most: Int) -> TokenLengths {
    TokenLengths(input: input.scaled(by: factor, atMost: most), output: output.scaled(by: factor, atMost: most))
  }
}

/// Lengths, each with its probability.
package struct LengthDistribution: Hashable, Sendable {
  private var lengths: [Int]
  /// Of this length and all before.
  private let upTo: [Double]

  fileprivate init(_ pairs: [[Double]], _ name: String, _ file: String) throws(TraceError) {
    var (lengths, upTo, sum): ([Int], [Double], Double) = ([], [], 0)
    for (index, pair) in pairs.enumerated() {
      guard pair.count == 2, 0...Double(Trace.mostTokens) ~= pair[0], pair[1] >= 0, pair[1].isFinite else {
        throw TraceError(file, "\(name)[\(index)] is not [tokens from 0 to \(Trace.mostTokens), probability]")
      }
      sum += pair[1]
      lengths.append(Int(pair[0]))
      upTo.append(sum)
    }
    guard sum > 0 else { throw TraceError(file, "\(name) has no probability above 0") }
    self.lengths = lengths
    self.upTo = upTo.map { $0 / sum }
  }

  func scaled(by factor: Double, atMost most: Int) -> LengthDistribution {
    var scaled = self
    scaled.lengths = lengths.map { min(most, Int((Double($0) * factor).rounded())) }
    return scaled
  }

  package var mean: Double {
    var (sum, before) = (0.0, 0.0)
    for (length, part) in zip(lengths, upTo) {
      sum += Double(length) * (part - before)
      before = part
    }
    return sum
  }

  package func sample(_ random: inout SeededGenerator) -> Int {
    let uniform = Double.random(in: 0..<1, using: &random)
    var (low, high) = (0, upTo.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if upTo[middle] > uniform { high = middle } else { low = middle + 1 }
    }
    return lengths[low]
  }
}
