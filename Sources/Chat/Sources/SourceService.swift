import FoundationEssentials
import NIOCore
import NIOPosix
import OllamaAPI
import Retrieval

/// What the operator's own service is asked, and what it answers.
///
/// `POST` with `{"query": "…", "limit": 4, "session": "…"}`; the answer has status 200 and
/// `{"sources": [{"title": "…", "score": 0.63, "excerpt": "…"}]}`, the best first.
enum SourceService {
  /// In bytes.
  static let answerLimit = 1 << 20
  // Of what it names; more is cut. In Unicode scalars.
  private static let titleLength = 200
  private static let excerptLength = 4_000

  static func request(_ question: String, limit: Int, session: String) -> [UInt8] {
    var json = JSONWriter()
    json.raw("{\"query\":")
    json.string(question)
    json.raw(",\"limit\":")
    json.text(String(limit))
    json.raw(",\"session\":")
    json.string(session)
    json.raw("}")
    return json.bytes
  }

  private struct Answer: Decodable {
    struct Source: Decodable {
      var title: String
      var score: Double
      var excerpt: String
    }
    var sources: [Source]
  }

  /// Reads an answer on another thread: as large as it may be, all of the chat would stand still meanwhile.
  static func passages(_ body: [UInt8], limit: Int, on loop: any EventLoop) -> EventLoopFuture<[FoundPassage]> {
    NIOThreadPool.singleton.runIfActive(eventLoop: loop) { try passages(body, limit: limit) }
  }

  static func passages(_ body: [UInt8], limit: Int) throws -> [FoundPassage] {
    guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(body)) else {
      throw SourceProblem(#"its answer is not {"sources": [{"title": "…", "score": 0.63, "excerpt": "…"}]}"#)
    }
    return answer.sources.prefix(limit).map { source in
      FoundPassage(
        title: PlainText.title(source.title, most: titleLength),
        text: PlainText.cleaned(PlainText.prefix(source.excerpt, excerptLength)), score: min(1, max(0, source.score)))
    }
  }
}
