import Foundation
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import Retrieval

@Suite("Searching an index")
struct SearchTests {
  private let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()

  private func search(
    _ index: DocumentIndex, _ question: String, _ vector: Vector? = nil, limit: Int = 4, least: Double = 0,
    within time: TimeAmount = .seconds(10)
  ) async throws -> [FoundPassage] {
    try await index.search(
      SearchRequest(
        question: question, vector: vector, limit: limit, leastScore: least, deadline: .now() + time)
    ).get()
  }

  private func withCorpus(_ body: (DocumentIndex, Corpus) async throws -> Void) async throws {
    let corpus = try Corpus()
    try corpus.write(Corpus.pumps).finish()
    try await body(DocumentIndex(corpus.path, on: loop), corpus)
  }

  @Test("meaning finds the subject, words tell apart what means the same")
  func hybrid() async throws {
    try await withCorpus { index, _ in
      #expect(try await index.model().get() == EmbeddingModel("m"))
      let found = try await search(index, "Qual è la pressione della TK5?", Corpus.vector(1))
      #expect(found.map(\.title).prefix(2) == ["TK5", "TK3+ 130bar"])
      #expect(found[0].score > 0.75 && found[0].score <= 1)
      #expect(found[0].score > found[1].score)
      #expect(found.allSatisfy { (0...1).contains($0.score) })
    }
  }

  @Test("a score says how well it fits, not that it was the best: nothing fits what is about nothing there")
  func honest() async throws {
    try await withCorpus { index, _ in
      let foreign = try await search(index, "quantum chromodynamics", Corpus.vector(9))
      #expect(foreign.allSatisfy { $0.score < 0.1 })
      #expect(try await search(index, "quantum chromodynamics", Corpus.vector(9), least: 0.3) == [])
      let exact = try await search(index, "The office is closed in August.", Corpus.vector(3))
      #expect(exact[0].title == "Holidays" && exact[0].score > 0.95)
    }
  }

  @Test("by words alone where there is no embedding; accents and case don't matter")
  func words() async throws {
    try await withCorpus { index, _ in
      for question in ["caffe", "CAFFÈ", "caffè?", "CAFE\u{301}", "perche"] {
        let found = try await search(index, question)
        #expect(found.first?.title == "Café", "\(question)")
      }
      let found = try await search(index, "tk3+ 130 bar")
      #expect(found.first?.title == "TK3+ 130bar")
    }
  }

  @Test(
    "a question is no query",
    arguments: [
      "\"", "'", "\"\"", "NEAR(office closed)", "office NOT closed", "office AND", "OR", "title:office", "- office",
      "{title text}: office", "office*", "^office", "(office", "office)", "a\0b office", "'; DROP TABLE passage; --",
      "\" OR 1=1 --", "word MATCH 'x'", "\\", "%", "💥", "", "   ", "\u{202e}office",
    ])
  func injection(_ question: String) async throws {
    try await withCorpus { index, corpus in
      let found = try await search(index, question)
      #expect(found.allSatisfy { (0...1).contains($0.score) })
      if question.contains("office") { #expect(found.first?.title == "Holidays") }
      #expect(try IndexContents.read(corpus.path).documents.count == 4)
    }
  }

  @Test("NOT and column filters are words like any others")
  func operators() async throws {
    try await withCorpus { index, _ in
      let plain = try await search(index, "office not closed")
      #expect(try await search(index, "office NOT closed") == plain)
      #expect(try await search(index, "office NOT \"closed\"") == plain)
    }
  }

  @Test("a question of a million words is looked for by the first ones")
  func endless() async throws {
    #expect(SearchWords(String(repeating: "a", count: 1_000_000)).words.map(\.count) == [64])
    #expect(SearchWords((0..<1_000_000).map { "w\($0)" }.joined(separator: " ")).words.count == SearchWords.most)
    #expect(SearchWords("Uno, due; UNO! d'acqua").words == ["uno", "due", "d", "acqua"])
  }

  @Test("the best are the same as by sorting all of them, over random corpora")
  func ranking() async throws {
    for seed in 0..<5 {
      let corpus = try Corpus()
      let documents = (0..<40).map { number in
        Corpus.Document(
          name: "d\(number)", subject: (number &* 31 &+ seed) % 16,
          texts: (0..<3).map { "text \($0) of \((number &* 17 &+ seed &* 5 &+ $0) % 11)x about \(number % 7)y" })
      }
      try corpus.write(documents, noise: 0.3).finish()
      let index = DocumentIndex(corpus.path, on: loop)
      let vector = try Corpus.vector(seed, noise: 0.1, seed: seed)
      let all = try await search(index, "3x and 4y", vector, limit: 120)
      #expect(all.count > 60)
      #expect(all.map(\.score) == all.map(\.score).sorted(by: >))
      #expect(try await search(index, "3x and 4y", vector, limit: 7) == Array(all.prefix(7)))
      let least = all[5].score
      #expect(
        try await search(index, "3x and 4y", vector, limit: 120, least: least).count == all.count { $0.score >= least })
    }
  }

  @Test("a new index in its place is seen at the next question; a vector of another length is told")
  func replaced() async throws {
    try await withCorpus { index, corpus in
      #expect(try await search(index, "august").count == 1)
      let new = [Corpus.Document(name: "New", subject: 4, texts: ["Something about August."])]
      let writer = try corpus.write(new)
      #expect(try writer.keep { $0 == "/d/New" } == 4)
      #expect(try await search(index, "august").map(\.title) == ["Holidays"])
      try writer.finish()
      #expect(try await search(index, "august").map(\.title) == ["New"])
      let error = await #expect(throws: RetrievalError.self) { try await search(index, "august", Vector([1, 2, 3])) }
      #expect(error?.code == .badEmbedding)
    }
  }

  @Test("many questions at once have the answers that each has alone, also while the index is replaced")
  func together() async throws {
    try await withCorpus { index, corpus in
      let alone = try await search(index, "office TK5", Corpus.vector(3))
      let writer = try corpus.write([])
      for round in 0..<4 {
        let searches = try (0..<40).map { _ in
          index.search(
            SearchRequest(
              question: "office TK5", vector: try Corpus.vector(3), limit: 4, leastScore: 0,
              deadline: .now() + .seconds(30)))
        }
        if round == 2 { try writer.finish() }
        for search in searches { #expect(try await search.get() == alone) }
      }
    }
  }

  @Test("a search that takes its time stops no other")
  func beside() async throws {
    try await withCorpus { index, _ in
      let isDone = DispatchSemaphore(value: 0)
      let long = index.work { _ in isDone.wait(timeout: .now() + 20) == .success }
      let found = try await search(index, "august")
      isDone.signal()
      #expect(found.map(\.title) == ["Holidays"])
      #expect(try await long.get())
    }
  }

  @Test("what is late is told to be")
  func late() async throws {
    try await withCorpus { index, _ in
      let error = await #expect(throws: RetrievalError.self) {
        try await search(index, "august", within: .nanoseconds(0))
      }
      #expect(error?.code == .late)
    }
  }

  @Test("no index, a damaged one, another program's: each is told, and one that is put there later is used")
  func unusable() async throws {
    let corpus = try Corpus()
    let index = DocumentIndex(corpus.path, on: loop)
    func code() async -> RetrievalError.Code? {
      await #expect(throws: RetrievalError.self) { try await search(index, "august") }?.code
    }
    #expect(await code() == .missing)
    try corpus.folder.write("no database at all, but long enough to be looked at as one", to: "documents.sqlite")
    #expect(await code() == .damaged)
    try FileManager.default.removeItem(atPath: corpus.path)
    try corpus.write(Corpus.pumps, model: IndexedModel(name: "m2", digest: "2e", dimensions: Corpus.dimensions))
      .finish()
    #expect(try await search(index, "august").count == 1)
  }
}
