import Gateway
import NIOCore
import PoolCore
import Retrieval

/// One search under way, which ends once: with what was found, with a problem, or when its time is up. On the loop.
final class SourceSearch {
  let deadline: NIODeadline
  /// What it waits for.
  var request: UpstreamRequest?
  private var done: (([FoundPassage]) -> Void)?
  private let report: (String) -> Void
  private var timer: Scheduled<Void>?

  init(
    within time: Duration, on loop: any EventLoop, report: @escaping (String) -> Void,
    _ done: @escaping ([FoundPassage]) -> Void
  ) {
    self.report = report
    self.done = done
    let time = TimeAmount.nanoseconds(time.nanoseconds)
    deadline = .now() + time
    // What waits for an answer is told by the request itself, at the same moment and in better words.
    timer = loop.assumeIsolated().scheduleTask(in: time + .milliseconds(20)) { [self] in
      fail("it took longer than sources.timeout")
    }
  }

  var isOpen: Bool { done != nil }

  func end(with passages: [FoundPassage]) {
    guard let done else { return }
    close()
    done(passages)
  }

  func fail(_ problem: String) {
    guard isOpen else { return }
    report(problem)
    end(with: [])
  }

  /// Nobody wants to know any more.
  func cancel() { close() }

  private func close() {
    done = nil
    timer?.cancel()
    request?.cancel()
    request = nil
  }
}

/// An answer that is none.
struct SourceProblem: Error, CustomStringConvertible {
  let description: String

  init(_ answer: UpstreamAnswer) {
    let body = String(decoding: answer.body.prefix(300), as: UTF8.self)
    description = "status \(answer.status): \(PlainText.title(body, most: 300))"
  }

  init(_ description: String) { self.description = description }
}
