import Gateway
import NIOCore
import NIOPosix
import PoolConfiguration
import Retrieval

/// Has the pool make embeddings, as any client of it.
struct PoolEmbedder {
  /// Passages of one request.
  static let batch = 32
  /// A request may have to wait in the queue.
  private static let time = TimeAmount.hours(1)
  private static let answerLimit = 64 << 20
  /// Before a request that was refused for want of room, or by a limit, is made again.
  private static let pauses: [Duration] = [1, 2, 4, 8, 15, 30, 60, 60, 60].map { .seconds($0) }

  let endpoint: ServiceAddress
  let key: String?
  let model: EmbeddingModel

  func vectors(of passages: [Passage]) async throws -> [Vector] {
    var vectors: [Vector] = []
    for start in stride(from: 0, to: passages.count, by: Self.batch) {
      let part = Array(passages[start..<min(start + Self.batch, passages.count)])
      vectors += try model.vectors(try await answer(model.request(passages: part)), count: part.count)
    }
    if let first = vectors.first, vectors.contains(where: { $0.numbers.count != first.numbers.count }) {
      throw CommandFailure("\(model.name) makes embeddings of different lengths", remedy: "name another --model")
    }
    return vectors
  }

  private func answer(_ body: [UInt8]) async throws -> [UInt8] {
    var answer = try await send(body)
    for pause in Self.pauses where answer.status == 503 || answer.status == 429 {
      try await Task.sleep(for: pause)
      answer = try await send(body)
    }
    guard answer.status == 200 else {
      let reason = String(decoding: answer.body.prefix(500), as: UTF8.self)
      let remedy =
        answer.status == 404
        ? "`ollama pull \(model.name)` fetches it, or name another --model"
        : answer.status == 401 || answer.status == 403
          ? "give a key that the pool knows with --key-file"
          : "what was done is kept, and running this again goes on from there"
      throw CommandFailure(
        "the pool made no embeddings by \(model.name) (status \(answer.status): \(Printable.text(reason)))",
        remedy: remedy)
    }
    return answer.body
  }

  private func send(_ body: [UInt8]) async throws -> UpstreamAnswer {
    let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let headers = key.map { [(name: "Authorization", value: "Bearer \($0)")] } ?? []
    do {
      return try await loop.flatSubmit { [endpoint] in
        UpstreamRequest.send(
          "POST", (endpoint.path.hasSuffix("/") ? String(endpoint.path.dropLast()) : endpoint.path) + "/api/embed",
          headers: headers, body: body, to: .host(endpoint.host, port: endpoint.port), within: Self.time,
          bodyLimit: Self.answerLimit, on: loop
        ).answer
      }.get()
    } catch {
      throw CommandFailure(
        "the pool at \(endpoint) can't be asked for embeddings (\(error))",
        remedy: "see whether it runs there; --endpoint names another. What was done is kept")
    }
  }
}
