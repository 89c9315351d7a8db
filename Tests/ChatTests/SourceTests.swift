import NIOCore
import NIOPosix
import Retrieval
import Testing

@testable import Chat

@Suite("What the model is told of sources")
struct SourceTests {
  @Test("each passage with its title and how well it fits, best first")
  func prompt() {
    let text = SourcePrompt.text([
      FoundPassage(title: "TK3+ 130bar", text: "Works at 130 bar.", score: 0.634),
      FoundPassage(title: "TK5", text: "Works at 90 bar.", score: 0.4),
    ])
    #expect(text.contains("📚 Sources: [TK3+ 130bar (63%)], [TK5 (40%)]\n\n[TK3+ 130bar (63%)]\nWorks at 130 bar.\n\n["))
    #expect(text.hasSuffix("[TK5 (40%)]\nWorks at 90 bar."))
  }

  @Test("a service's answer is read strictly, within bounds")
  func service() throws {
    let long = String(repeating: "x", count: 5_000)
    let found = try SourceService.passages(
      Array(
        #"{"sources":[{"title":"a\nb","score":-3,"excerpt":"\#(long)"},{"title":"c","score":1e300,"excerpt":""}]}"#.utf8
      ),
      limit: 2)
    #expect(found.map(\.title) == ["a b", "c"])
    #expect(found.map(\.score) == [0, 1])
    #expect(found[0].text.count == 4_000)
    #expect(try SourceService.passages(Array(#"{"sources":[]}"#.utf8), limit: 2) == [])
    for bad in ["", "{}", "[]", #"{"sources":[{"title":"a"}]}"#, #"{"sources":[{"title":1,"score":1,"excerpt":""}]}"#] {
      #expect(throws: SourceProblem.self, "\(bad)") { try SourceService.passages(Array(bad.utf8), limit: 2) }
    }
  }

  @Test("what a service names is cleaned as documents are, and cut where a letter has a million accents")
  func cleaned() throws {
    let accents = String(repeating: "\u{301}", count: 1_000_000)
    let found = try SourceService.passages(
      Array(
        #"{"sources":[{"title":"\u202eevil\u0000\u001b[31m\ttitle","score":1,"excerpt":"one\u202e\r\ntwo\u0007"}"#.utf8)
        + Array(#",{"title":"e\#(accents)","score":1,"excerpt":"e\#(accents)"}]}"#.utf8), limit: 2)
    #expect(found[0] == FoundPassage(title: "evil[31m title", text: "one\ntwo", score: 1))
    #expect(found[1].title.unicodeScalars.count == 200)
    #expect(found[1].text.unicodeScalars.count == 4_000)
  }

  @Test("an answer is read beside the event loop")
  func beside() async throws {
    let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let body = Array(#"{"sources":[{"title":"a","score":1,"excerpt":"b"}]}"#.utf8)
    let (wasThere, found) = try await loop.flatSubmit {
      let passages = SourceService.passages(body, limit: 1, on: loop)
      var isThere = false
      passages.assumeIsolated().whenComplete { _ in isThere = true }
      return passages.map { [isThere] in (isThere, $0) }
    }.get()
    #expect(!wasThere && found.map(\.title) == ["a"])
  }

  @Test("a service is asked in JSON, whatever the question")
  func request() {
    #expect(
      String(decoding: SourceService.request("a \"b\"\n", limit: 4, session: "s"), as: UTF8.self)
        == #"{"query":"a \"b\"\n","limit":4,"session":"s"}"#)
  }
}
