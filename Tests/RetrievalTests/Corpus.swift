import Foundation
import TestSupport

@testable import Retrieval

/// An index of made-up documents, with vectors that say which of 16 subjects a passage is about.
struct Corpus {
  static let dimensions = 64
  let folder: TemporaryDirectory
  var path: String { folder.path(to: "documents.sqlite") }

  init() throws { folder = try TemporaryDirectory() }

  struct Document {
    var name: String
    var subject: Int
    var texts: [String]
  }

  static func vector(_ subject: Int, noise: Float = 0, seed: Int = 0) throws -> Vector {
    var state = UInt64(bitPattern: Int64(seed &* 7_919 &+ subject))
    var numbers = (0..<dimensions).map { _ -> Float in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return noise * (Float(state >> 40) / Float(1 << 23) - 1)
    }
    numbers[subject] += 1
    guard let vector = Vector(numbers) else { throw RetrievalError(.badEmbedding, "no vector") }
    return vector
  }

  static let model = IndexedModel(name: "m", digest: "1f", dimensions: dimensions)

  @discardableResult
  func write(_ documents: [Document], model: IndexedModel = Self.model, noise: Float = 0.02) throws -> IndexWriter {
    let writer = try IndexWriter(path, model: model)
    try write(documents, to: writer, noise: noise)
    return writer
  }

  func write(_ documents: [Document], to writer: IndexWriter, noise: Float = 0.02) throws {
    for (number, document) in documents.enumerated() {
      let passages = try document.texts.enumerated().map { index, text in
        (
          Passage(title: document.name, text: text),
          try Self.vector(document.subject, noise: noise, seed: number * 100 + index)
        )
      }
      try writer.put(
        "/d/\(document.name)", FileMark(bytes: number, modifiedNanoseconds: 1), content: Array(document.name.utf8),
        title: document.name, passages, at: 1_700_000_000)
    }
  }

  static let pumps = [
    Document(name: "TK3+ 130bar", subject: 1, texts: ["La pressione massima della pompa TK3+ è di 130 bar."]),
    Document(name: "TK5", subject: 1, texts: ["La pressione massima della pompa TK5 è di 90 bar."]),
    Document(name: "Café", subject: 2, texts: ["Il caffè si serve caldo. Perché no?"]),
    Document(name: "Holidays", subject: 3, texts: ["The office is closed in August."]),
  ]
}
