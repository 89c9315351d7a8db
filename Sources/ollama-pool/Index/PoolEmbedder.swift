import FoundationEssentials
import Gateway
import NIOCore
import NIOPosix
import PoolConfiguration
import PoolCore
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

  /// What the pool has under the model's name.
  func indexedModel() async throws -> IndexedModel {
    IndexedModel(
      name: model.name, digest: try await digest(), dimensions: try await embedSample()[0].numbers.count)
  }

  func digest() async throws -> String {
    struct Answer: Decodable {
      struct Model: Decodable {
        var name: String
        var digest: String
      }
      var models: [Model]
    }
    let answer = try await accepted("GET", "/api/tags")
    guard answer.status == 200, let listed = try? JSONDecoder().decode(Answer.self, from: Data(answer.body)) else {
      throw failure("lists no models", answer.reason, "see whether --endpoint names a pool")
    }
    let key = ModelName.key(of: model.name)
    guard let listed = listed.models.first(where: { ModelName.key(of: $0.name) == key }) else {
      throw CommandFailure(
        "the pool has no model \(model.name)",
        remedy: "`ollama pull \(model.name)` fetches it, or name another --model")
    }
    return listed.digest
  }

  /// - Throws: `unreadable` where no embedding can be made of a passage though the model works; `CommandFailure` for
  ///   what stands against all.
  func vectors(of passages: [Passage]) async throws -> [Vector] {
    var vectors: [Vector] = []
    for start in stride(from: 0, to: passages.count, by: Self.batch) {
      let part = Array(passages[start..<min(start + Self.batch, passages.count)])
      do {
        vectors += try await embed(part)
      } catch is Refusal {
        for passage in part { vectors += try await embed(alone: passage) }
      }
    }
    return vectors
  }

  private func embed(alone passage: Passage) async throws -> [Vector] {
    do {
      return try await embed([passage])
    } catch let refusal as Refusal {
      _ = try await embedSample()
      let beginning = Printable.text(String(passage.text.prefix(40)))
      throw RetrievalError(
        .unreadable,
        "\(model.name) makes no embedding of the passage that begins with \"\(beginning)\": \(refusal.reason)")
    }
  }

  /// Shows that the model works.
  private func embedSample() async throws -> [Vector] {
    do {
      return try await embed([Passage(title: "Sample", text: "A short sentence.")])
    } catch let refusal as Refusal {
      throw failure(
        "made no embeddings by \(model.name)", refusal.reason,
        "see whether it is an embedding model, and what its instance says")
    }
  }

  /// The model made no embeddings of what it was given; of something else it may.
  private struct Refusal: Error {
    var reason: String
  }

  private func embed(_ passages: [Passage]) async throws -> [Vector] {
    let answer = try await accepted("POST", "/api/embed", model.request(passages: passages))
    guard answer.status == 200 else { throw Refusal(reason: answer.reason) }
    do {
      return try model.vectors(answer.body, count: passages.count)
    } catch {
      throw Refusal(reason: error.message)
    }
  }

  /// An answer that is about what was asked, and not about who asked it or when.
  private func accepted(_ method: String, _ path: String, _ body: [UInt8] = []) async throws -> UpstreamAnswer {
    var answer = try await send(method, path, body)
    for pause in Self.pauses where answer.status == 503 || answer.status == 429 {
      try await Task.sleep(for: pause)
      answer = try await send(method, path, body)
    }
    switch answer.status {
    case 401, 403: throw failure("refuses", answer.reason, "give a key that the pool knows with --key-file")
    case 404: throw failure("has no \(path)", answer.reason, "see whether --endpoint names a pool that has the model")
    case 429, 503:
      throw failure("had no room", answer.reason, "what was done is kept, and running this again goes on from there")
    default: return answer
    }
  }

  private func failure(_ what: String, _ reason: String, _ remedy: String) -> CommandFailure {
    CommandFailure("the pool at \(endpoint) \(what) (\(reason))", remedy: remedy)
  }

  private func send(_ method: String, _ path: String, _ body: [UInt8]) async throws -> UpstreamAnswer {
    let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let headers = key.map { [(name: "Authorization", value: "Bearer \($0)")] } ?? []
    do {
      return try await loop.flatSubmit { [endpoint] in
        UpstreamRequest.send(
          method, (endpoint.path.hasSuffix("/") ? String(endpoint.path.dropLast()) : endpoint.path) + path,
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

extension UpstreamAnswer {
  /// Its status and the beginning of what it says.
  fileprivate var reason: String {
    "status \(status): \(Printable.text(String(decoding: body.prefix(500), as: UTF8.self)))"
  }
}
