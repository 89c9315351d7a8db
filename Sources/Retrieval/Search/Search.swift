import FoundationEssentials
import GRDB
import Glibc
package import NIOCore

/// A passage that fits a question.
package struct FoundPassage: Equatable, Sendable {
  package var title: String
  package var text: String
  /// How well it fits, from 0 to 1.
  package var score: Double

  package init(title: String, text: String, score: Double) {
    self.title = title
    self.text = text
    self.score = score
  }
}

/// What is looked for, and how much of it.
package struct SearchRequest: Equatable, Sendable {
  package var question: String
  /// nil: by its words alone.
  package var vector: Vector?
  package var limit: Int
  /// From 0 to 1; what fits less is left out.
  package var leastScore: Double
  package var deadline: NIODeadline

  package init(question: String, vector: Vector?, limit: Int, leastScore: Double, deadline: NIODeadline) {
    self.question = question
    self.vector = vector
    self.limit = limit
    self.leastScore = leastScore
    self.deadline = deadline
  }
}

/// One search in an index: every passage is judged by what it means and by its words.
///
/// The score is a convex combination of two measures that each have bounds of their own, so that it means the same for
/// every question, whatever else was found (Bruch, Gai, Ingber: An Analysis of Fusion Functions for Hybrid Retrieval,
/// arXiv:2210.11934; ranks, as reciprocal rank fusion combines them, say nothing of how well the best one fits):
/// - meaning: the cosine of the angle between the embeddings, where less than 0 counts as 0;
/// - words: which part of the question's words the passage has, a rare word counting for more, by BM25's weight
///   ln(1 + (N − n + 0.5) / (n + 0.5)) of a word that n of N passages have.
struct Search {
  /// The part of the meaning. Words alone find no paraphrase, and meaning alone confuses what differs in a number.
  static let weightOfMeaning: Float = 0.7
  /// Rows between two looks at the clock.
  private static let stride = 1_024

  let request: SearchRequest
  /// All passages' ids, ascending.
  let ids: [Int64]
  private var scores: [Float]

  init(_ request: SearchRequest, ids: [Int64]) {
    self.request = request
    self.ids = ids
    scores = [Float](repeating: 0, count: ids.count)
  }

  mutating func run(_ database: Database) throws -> [FoundPassage] {
    try judgeWords(database)
    if let vector = request.vector { try judgeMeaning(vector, database) }
    return try best().map { index in
      var found = FoundPassage(title: "", text: "", score: Double(min(1, max(0, scores[index]))))
      try database.forEach("SELECT title, text FROM passage WHERE id = ?", [ids[index]]) { row in
        (found.title, found.text) = (try row.text(), try row.text())
      }
      return found
    }
  }

  private mutating func judgeWords(_ database: Database) throws {
    var total: Float = 0
    for word in SearchWords(request.question).words {
      var having: [Int] = []
      var position = 0
      // FTS5 gives the rows in their order.
      try database.forEach("SELECT rowid FROM word WHERE word MATCH ?", [SearchWords.query(word)]) { row in
        let id = try row.integer()
        if having.count % Self.stride == 0 { try checkTime() }
        while position < ids.count, ids[position] < id { position += 1 }
        if position < ids.count, ids[position] == id { having.append(position) }
      }
      let (all, some) = (Float(ids.count), Float(having.count))
      let weight = Self.logarithm(1 + (all - some + 0.5) / (some + 0.5))
      total += weight
      for index in having { scores[index] += weight }
    }
    guard total > 0 else { return }
    for index in scores.indices { scores[index] /= total }
  }

  private static func logarithm(_ number: Float) -> Float { logf(number) }

  private mutating func judgeMeaning(_ vector: Vector, _ database: Database) throws {
    let rows = try Row.fetchCursor(database, sql: "SELECT passage, numbers FROM vector ORDER BY passage")
    var position = 0
    while let row = try rows.next() {
      guard let id = Int64.fromDatabaseValue(row[0] as DatabaseValue) else { continue }
      if position % Self.stride == 0 { try checkTime() }
      while position < ids.count, ids[position] < id { position += 1 }
      guard position < ids.count, ids[position] == id else { continue }
      let cosine = try row.withUnsafeData(atIndex: 1) { data in data?.withUnsafeBytes { vector.cosine($0) } ?? nil }
      guard let cosine else {
        throw RetrievalError(
          .badEmbedding, "the model's vectors are of another length than the index's: run `ollama-pool index` again")
      }
      scores[position] = Self.weightOfMeaning * max(0, cosine) + (1 - Self.weightOfMeaning) * scores[position]
      position += 1
    }
  }

  private func checkTime() throws {
    guard .now() < request.deadline else { throw RetrievalError(.late, "searching the documents took too long") }
  }

  /// Positions of the best passages, the best first; of equals the one that is earlier in its document.
  private func best() -> [Int] {
    var best: [Int] = []
    for (index, score) in scores.enumerated() where Double(score) >= request.leastScore && score > 0 {
      if best.count == request.limit, let last = best.last, scores[last] >= score { continue }
      best.insert(index, at: best.firstIndex { scores[$0] < score } ?? best.endIndex)
      if best.count > request.limit { best.removeLast() }
    }
    return best
  }
}
