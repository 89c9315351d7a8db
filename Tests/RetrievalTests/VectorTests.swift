import Foundation
import Testing

@testable import Retrieval

@Suite("Embeddings")
struct VectorTests {
  @Test("have length 1, and the cosine of themselves is 1")
  func length() throws {
    let numbers = (0..<771).map { Float($0 % 7) - 3 }
    let vector = try #require(Vector(numbers))
    let cosine = try #require(vector.data.withUnsafeBytes { vector.cosine($0) })
    #expect(abs(cosine - 1) < 1e-5)
    let opposite = try #require(Vector(numbers.map { -$0 }))
    let contrary = try #require(opposite.data.withUnsafeBytes { vector.cosine($0) })
    #expect(abs(contrary + 1) < 1e-5)
  }

  @Test("without a direction, with what is no number, or of another length are none")
  func unusable() throws {
    #expect(Vector([0, 0, 0]) == nil)
    #expect(Vector([]) == nil)
    #expect(Vector([.nan, 1]) == nil)
    #expect(Vector([.infinity, 1]) == nil)
    #expect(Vector([Float](repeating: 1, count: 5_000)) == nil)
    let (short, long) = (try #require(Vector([1, 0])), try #require(Vector([1, 0, 0])))
    #expect(long.data.withUnsafeBytes { short.cosine($0) } == nil)
  }

  @Test("are asked for with what the model was trained to see, and read strictly")
  func model() throws {
    let nomic = EmbeddingModel("nomic-embed-text:latest")
    #expect(
      String(decoding: nomic.request(question: "a \"b\""), as: UTF8.self).contains(#"search_query: a \"b\""#))
    #expect(
      String(decoding: nomic.request(passages: [Passage(title: "T", text: "x")]), as: UTF8.self)
        .contains(#"search_document: T\nx"#))
    #expect(!String(decoding: EmbeddingModel("other").request(question: "x"), as: UTF8.self).contains("search"))
    let expected = try #require(Vector([3, 4]))
    #expect(try nomic.vectors(Array(#"{"embeddings":[[3,4]]}"#.utf8), count: 1) == [expected])
    for bad in [#"{"embeddings":[]}"#, #"{"embeddings":[[0]]}"#, #"{"embeddings":[["a"]]}"#, "{}", "", "[1]"] {
      #expect(throws: RetrievalError.self, "\(bad)") { try nomic.vectors(Array(bad.utf8), count: 1) }
    }
    #expect(throws: RetrievalError.self) {
      try nomic.vectors(Array(#"{"embeddings":[[1,2],[1]]}"#.utf8), count: 2)
    }
  }
}
