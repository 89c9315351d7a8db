import Foundation
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
    let writer = try IndexWriter(corpus.path, model: "m")
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
    let writer = try IndexWriter(corpus.path, model: "m")
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

  @Test("another model begins anew")
  func otherModel() throws {
    let corpus = try Corpus()
    try corpus.write(Corpus.pumps).finish()
    let writer = try IndexWriter(corpus.path, model: "other")
    #expect(try !writer.has("/d/TK5", FileMark(bytes: 1, modifiedNanoseconds: 1)))
    #expect(try IndexContents.read(corpus.path).documents.count == 4)
    try writer.finish()
    #expect(try IndexContents.read(corpus.path) == IndexContents(model: "other", documents: []))
  }

  @Test("root writes into no folder of somebody else's", .enabled("needs root") { geteuid() == 0 })
  func rootIsCareful() throws {
    let corpus = try Corpus()
    #expect(chown(corpus.folder.path, 65_534, 65_534) == 0)
    let error = #expect(throws: RetrievalError.self) { try IndexWriter(corpus.path, model: "m") }
    #expect(error?.message.contains("belongs to the user nobody: run this as that one") == true)
    #expect(try FileManager.default.contentsOfDirectory(atPath: corpus.folder.path) == [])
  }

  @Test("two writers don't meet, and what isn't an index is left alone")
  func refused() throws {
    let corpus = try Corpus()
    let first = try IndexWriter(corpus.path, model: "m")
    let second = #expect(throws: RetrievalError.self) { try IndexWriter(corpus.path, model: "m") }
    #expect(second?.code == .inUse)
    try first.finish()
    try corpus.folder.write("my diary", to: "diary")
    try FileManager.default.removeItem(atPath: corpus.path)
    try FileManager.default.moveItem(atPath: corpus.folder.path(to: "diary"), toPath: corpus.path)
    let error = #expect(throws: RetrievalError.self) { try IndexWriter(corpus.path, model: "other") }
    #expect(error?.code == .damaged)
    #expect(try String(contentsOfFile: corpus.path, encoding: .utf8) == "my diary")
    let nowhere = #expect(throws: RetrievalError.self) { try IndexWriter("/nowhere/documents.sqlite", model: "m") }
    #expect(nowhere?.message.contains("/nowhere/documents.sqlite.new can't be written") == true)
  }
}
