import Foundation
import GRDB
import Glibc
import TestSupport
import Testing

@testable import Retrieval

@Suite("Writing an index")
struct IndexWriterTests {
  @Test("the index appears as a whole, and is not touched by a run that breaks off; the next goes on from there")
  func whole() throws {
    let corpus = try Corpus()
    do {
      let broken = try corpus.write(Corpus.pumps)
      #expect(throws: RetrievalError.self) { try IndexContents.read(corpus.path) }
      #expect(try broken.has("/d/TK5", FileMark(bytes: 1, modifiedNanoseconds: 1)))
    }
    let writer = try IndexWriter(corpus.path, model: Corpus.model)
    #expect(try writer.has("/d/TK5", FileMark(bytes: 1, modifiedNanoseconds: 1)))
    #expect(try !writer.has("/d/TK5", FileMark(bytes: 2, modifiedNanoseconds: 1)))
    try writer.finish()
    let contents = try IndexContents.read(corpus.path)
    #expect(contents.model == "m")
    #expect(contents.documents.map(\.title) == ["Café", "Holidays", "TK3+ 130bar", "TK5"])
    #expect(contents.documents.allSatisfy { $0.passages == 1 && $0.indexedAtSecondsSince1970 == 1_700_000_000 })
    #expect(try FileManager.default.contentsOfDirectory(atPath: corpus.folder.path) == ["documents.sqlite"])
  }

  @Test("the same content under another time is unchanged; a changed document takes the place of the old one")
  func changes() throws {
    let corpus = try Corpus()
    try corpus.write(Corpus.pumps).finish()
    let writer = try IndexWriter(corpus.path, model: Corpus.model)
    let later = FileMark(bytes: 1, modifiedNanoseconds: 2)
    #expect(try !writer.has("/d/TK5", later))
    #expect(try !writer.has("/d/TK5", later, content: Array("other".utf8)))
    #expect(try writer.has("/d/TK5", later, content: Array("TK5".utf8)))
    #expect(try writer.has("/d/TK5", later))
    try writer.put(
      "/d/TK5", later, content: [1], title: "TK5 new",
      [
        (Passage(title: "TK5 new", text: "x"), Corpus.vector(1)),
        (Passage(title: "TK5 new", text: "y"), Corpus.vector(1)),
      ],
      at: 5)
    try writer.finish()
    #expect(try IndexContents.read(corpus.path).documents.map(\.passages) == [1, 1, 1, 2])
  }

  @Test(
    "another model begins anew, and so does another content of the same name",
    arguments: [
      IndexedModel(name: "other", digest: "1f", dimensions: 64), IndexedModel(name: "m", digest: "2e", dimensions: 64),
      IndexedModel(name: "m", digest: "1f", dimensions: 32),
    ])
  func otherModel(_ other: IndexedModel) throws {
    let corpus = try Corpus()
    try corpus.write(Corpus.pumps).finish()
    let writer = try IndexWriter(corpus.path, model: other)
    #expect(try !writer.has("/d/TK5", FileMark(bytes: 1, modifiedNanoseconds: 1)))
    #expect(try IndexContents.read(corpus.path).documents.count == 4)
    try writer.finish()
    #expect(try IndexContents.read(corpus.path) == IndexContents(model: other.name, documents: []))
  }

  @Test("vectors of two lengths never lie in one index")
  func lengths() throws {
    let corpus = try Corpus()
    let writer = try corpus.write(Corpus.pumps)
    let vector = try #require(Vector([1, 2, 3]))
    let error = #expect(throws: RetrievalError.self) {
      try writer.put(
        "/d/TK5", FileMark(bytes: 9, modifiedNanoseconds: 9), content: [1], title: "TK5",
        [(Passage(title: "TK5", text: "x"), vector)], at: 5)
    }
    #expect(error?.code == .badEmbedding)
    #expect(try writer.has("/d/TK5", FileMark(bytes: 1, modifiedNanoseconds: 1)))
  }

  @Test("whether there is room is known before a document has embeddings; what it had itself is free")
  func room() throws {
    let corpus = try Corpus()
    let writer = try corpus.write(Corpus.pumps)
    let most = IndexSchema.mostPassages
    func hasRoom(for document: String, _ passages: Int) -> Bool {
      (try? writer.checkRoom(for: document, passages: passages)) != nil
    }
    #expect(hasRoom(for: "/d/new", most - 4) && !hasRoom(for: "/d/new", most - 3))
    #expect(hasRoom(for: "/d/TK5", most - 3) && !hasRoom(for: "/d/TK5", most - 2))
    try corpus.write(Corpus.pumps, to: writer)
    #expect(!hasRoom(for: "/d/new", most - 3))
    #expect(try writer.keep { $0 == "/d/TK5" } == 3)
    #expect(hasRoom(for: "/d/new", most - 1) && !hasRoom(for: "/d/new", most))
  }

  @Test("root writes into no folder of somebody else's", .enabled("needs root") { geteuid() == 0 })
  func rootIsCareful() throws {
    let corpus = try Corpus()
    #expect(chown(corpus.folder.path, 65_534, 65_534) == 0)
    let error = #expect(throws: RetrievalError.self) { try IndexWriter(corpus.path, model: Corpus.model) }
    #expect(error?.message.contains("belongs to the user nobody: run this as that one") == true)
    #expect(try FileManager.default.contentsOfDirectory(atPath: corpus.folder.path) == [])
  }

  @Test("two writers don't meet")
  func twoWriters() throws {
    let corpus = try Corpus()
    let first = try IndexWriter(corpus.path, model: Corpus.model)
    let second = #expect(throws: RetrievalError.self) { try IndexWriter(corpus.path, model: Corpus.model) }
    #expect(second?.code == .inUse)
    try first.finish()
    let nowhere = #expect(throws: RetrievalError.self) {
      try IndexWriter("/nowhere/documents.sqlite", model: Corpus.model)
    }
    #expect(nowhere?.message.contains("/nowhere/documents.sqlite.new can't be written") == true)
  }

  @Test(
    "what isn't an index is left alone, wherever it stands, and nothing is left beside it",
    arguments: ["documents.sqlite", "documents.sqlite.new"])
  func foreign(_ name: String) throws {
    let corpus = try Corpus()
    try corpus.folder.write(String(repeating: "my diary ", count: 20), to: name)
    let error = #expect(throws: RetrievalError.self) { try IndexWriter(corpus.path, model: Corpus.model) }
    #expect(error?.code == .damaged && error?.message.contains(corpus.folder.path(to: name)) == true)
    #expect(try FileManager.default.contentsOfDirectory(atPath: corpus.folder.path) == [name])
    #expect(try String(contentsOfFile: corpus.folder.path(to: name), encoding: .utf8).hasPrefix("my diary"))
  }

  @Test("what came in the index's place since a run broke off is left alone, too")
  func foreignLater() throws {
    let corpus = try Corpus()
    try corpus.write(Corpus.pumps)
    try corpus.folder.write("my diary", to: "documents.sqlite")
    #expect(throws: RetrievalError.self) { try IndexWriter(corpus.path, model: Corpus.model) }
    #expect(try String(contentsOfFile: corpus.path, encoding: .utf8) == "my diary")
  }

  @Test("of pipes and folders nobody waits for anything", .timeLimit(.minutes(1)))
  func pipes() throws {
    for name in ["documents.sqlite", "documents.sqlite.new"] {
      for make in [{ mkfifo($0, 0o600) }, { mkdir($0, 0o700) }] as [(String) -> CInt] {
        let corpus = try Corpus()
        #expect(make(corpus.folder.path(to: name)) == 0)
        #expect(throws: RetrievalError.self) { try IndexWriter(corpus.path, model: Corpus.model) }
        #expect(throws: RetrievalError.self) { try IndexContents.read(corpus.path) }
      }
    }
  }

  @Test("an index of another version, or a damaged one, is written anew")
  func otherVersion() throws {
    for damage in ["PRAGMA user_version = 1", "DROP TABLE about"] {
      let corpus = try Corpus()
      try corpus.write(Corpus.pumps).finish()
      try DatabaseQueue(path: corpus.path).writeWithoutTransaction { try $0.execute(sql: damage) }
      #expect(throws: RetrievalError.self) { try IndexContents.read(corpus.path) }
      try IndexWriter(corpus.path, model: Corpus.model).finish()
      #expect(try IndexContents.read(corpus.path).documents == [])
    }
  }
}
